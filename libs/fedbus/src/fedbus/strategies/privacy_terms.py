"""Terms of a job's privacy: what its mechanism promises, resolved when the job is submitted. Pure.

The noise is given as a multiple of the greatest change that one unit makes. In a mean with a fixed
denominator an agent's update adds at most C / n, with the clipping norm C and the cohort n. What
another aggregator does with one update is not known, so its combined update is clipped to C and may
change by 2C: the same noise is then worth noise_multiplier / 2n only.
"""

import math
from typing import Final

from fedbus.jobs import JobFile
from fedbus.jobs.mechanism_cohort import POISSON
from fedbus.jobs.privacy_options import MechanismOptions
from fedbus.strategies.mechanism_rules import MECHANISM_RULES
from fedbus.wire.privacy import PrivacyTerms

DEFAULT_DELTA: Final = 1e-5
"""δ of a job that gives none, unless its population asks for a smaller one."""
AVERAGING: Final = "mean"
"""The aggregator whose sensitivity is known: it divides a sum by a fixed number."""


def privacy_terms(job: JobFile, aggregator: str) -> PrivacyTerms | None:
    """Return what a job promises with this aggregator; None: it has no privacy mechanism."""
    chosen = job.privacy_mechanisms.chosen
    if chosen is None:
        return None
    name, mechanism = chosen
    accounting = job.privacy_mechanisms.accounting
    cohort, population = cohort_of(job, mechanism), job.strategy.population
    rules = MECHANISM_RULES[name]
    own = rules.terms(job, mechanism)
    if rules.fixed_denominator and own.get("noise") != "agents":
        own["noise_multiplier"] *= share_of_sum(aggregator, cohort)
    if accounting is not None and accounting.sampling == POISSON:
        rate = 1.0 if population is None else min(1.0, cohort / population)
        own |= {"sampling": POISSON, "relation": "add-or-remove-one", "rate": rate}
    return PrivacyTerms(
        mechanism=name,
        delta=delta_of(job, mechanism) if rules.has_delta else 0.0,
        target_epsilon=None if accounting is None else accounting.target_epsilon,
        accountant="pld" if accounting is None else accounting.accountant,
        cohort=cohort,
        population=population,
        **own,
    )


def share_of_sum(aggregator: str, cohort: int) -> float:
    """Return the factor of a noise multiplier that is left with this aggregator."""
    return 1.0 if aggregator == AVERAGING else 1 / (2 * cohort)


def cohort_of(job: JobFile, mechanism: MechanismOptions) -> int:
    """Return the number of agents wanted in a round."""
    return job.round.agents if mechanism.cohort is None else mechanism.cohort


def delta_of(job: JobFile, mechanism: MechanismOptions) -> float:
    """Return the δ that a job gives, or the default for its number of agents or of examples."""
    accounting = job.privacy_mechanisms.accounting
    if accounting is not None and accounting.delta is not None:
        return accounting.delta
    units = mechanism.fewest_units or job.strategy.population or cohort_of(job, mechanism)
    return min(DEFAULT_DELTA, math.pow(units, -1.1))
