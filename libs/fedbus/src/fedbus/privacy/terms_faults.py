"""Faults of a job's privacy terms: combinations for which no ε holds. Pure.

They are judged as the terms were resolved, not as a job file spells them; and by the repository as
well as where a job is submitted.
"""

from collections.abc import Iterator
from typing import Final

from fedbus.privacy.composed_noise import is_amplified
from fedbus.wire.documents import JobFault
from fedbus.wire.privacy import PrivacyTerms

_ROUNDING: Final = 1 + 1e-9
"""The rate was computed elsewhere, perhaps with another rounding of the last digit."""


def terms_faults(terms: PrivacyTerms) -> Iterator[JobFault]:
    """Yield why ε would not hold with these terms."""
    if terms.poisson:
        yield from _poisson(terms)
    if why := _contradiction(terms):
        yield JobFault(
            key="privacy-mechanisms",
            problem=f"the terms of {terms.mechanism} contradict each other: {why}",
            hint="run the same version of fedbus at controllers and repository",
        )


def hidden_terms_faults(terms: PrivacyTerms, *, encrypted: bool) -> Iterator[JobFault]:
    """Yield why ε would not hold if updates are encrypted; if not encrypted, they are masked."""
    if terms.poisson:
        yield _no_secret_cohort(encrypted=encrypted)
    why = ""
    if encrypted and terms.noise == "collector":
        why = "the collector draws the noise, and cannot add it to an encrypted sum"
    elif terms.clipping == "enforced":
        why = "the collector measures updates that it cannot read"
    if why:
        yield JobFault(
            key="privacy-mechanisms",
            problem=f"the terms of {terms.mechanism} contradict how updates are hidden: {why}",
            hint="run the same version of fedbus at controllers and repository",
        )


def _no_secret_cohort(*, encrypted: bool) -> JobFault:
    """Return why Poisson sampling is not secret: ε is smaller by it only as long as it is."""
    if encrypted:
        protection = "homomorphic"
        why = (
            "the number of updates in an encrypted version can be read, and its mean is divided "
            "by it"
        )
    else:
        protection = "secure-aggregation"
        why = "agents of a masked round are told each other's names, and need two others"
    return JobFault(
        key="privacy-mechanisms.accounting.sampling",
        problem=f"poisson, but {why}: the agents that are drawn would not be secret",
        hint=f"leave it out, and ε holds for any cohort; or leave {protection} out",
    )


def _contradiction(terms: PrivacyTerms) -> str:
    """Return which field of the terms cannot stand beside another one, or ""."""
    agents, with_plan = terms.noise == "agents", terms.entered == "with-plan"
    if with_plan and not agents:
        return "an entry is stored with the plan, and the collector draws the noise after it"
    if agents and not with_plan and terms.release != "gaussian":
        return "each agent protects itself, and its entry is not stored before it is asked"
    if terms.correlated != (terms.release == "banded"):
        return f"{terms.release} noise is called {'' if terms.correlated else 'not '}correlated"
    if agents and terms.correlated:
        return "agents draw the noise, and later rounds cannot draw it again"
    if agents and terms.clipping == "enforced":
        return "agents draw the noise, and the collector measures updates that have it"
    return ""


def _poisson(terms: PrivacyTerms) -> Iterator[JobFault]:
    if not is_amplified(terms):
        yield JobFault(
            key="privacy-mechanisms.accounting.sampling",
            problem=f"poisson, but {_no_poisson(terms)}",
            hint="leave it out",
        )
    elif terms.population is None:
        yield JobFault(
            key="strategy.population",
            problem="missing: Poisson sampling draws an agent with the probability "
            "num_sampled_clients / strategy.population",
            hint="give the number of all agents that may take part in the job",
        )
    elif terms.rate * _ROUNDING < terms.cohort / terms.population:
        yield JobFault(
            key="strategy.population",
            problem=f"{terms.population} agents, of which a round draws {terms.cohort}, are a "
            f"sampling rate of {terms.cohort / terms.population:.4g}, and ε is computed for "
            f"{terms.rate:.4g}",
            hint="run the same version of fedbus at controllers and repository",
        )


def _no_poisson(terms: PrivacyTerms) -> str:
    if terms.noise == "agents":
        return (
            "agents add the noise: a round with few of them would have too little, or its ε does "
            "not depend on who else takes part"
        )
    return (
        f"the ε of {terms.mechanism} does not become smaller by it: that of independent Gaussian "
        "noise of the collector does, as with dp-fixed and dp-adaptive"
    )
