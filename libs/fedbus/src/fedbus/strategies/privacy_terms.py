"""Terms of a job's privacy: what its mechanism promises, resolved when the job is submitted. Pure.

The noise is given as a multiple of the greatest change that one unit makes. In a mean with a fixed
denominator an agent's update adds at most C / n, with the clipping norm C and the cohort n. What
another aggregator does with one update is not known, so its combined update is clipped to C and may
change by 2C: the same noise is then worth noise_multiplier / 2n only.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from fedbus.jobs import JobFile, training_params_of
from fedbus.jobs.mechanism_cohort import POISSON
from fedbus.jobs.privacy_options import (
    DpAdaptive,
    DpBanded,
    DpFixed,
    DpSgd,
    LdpGaussian,
    LdpLaplace,
    LdpRandomizedResponse,
    Mechanism,
    MetricPrivacy,
    Mistnet,
)
from fedbus.training.dp_sgd import dp_sgd_steps
from fedbus.training.params import Argument
from fedbus.wire.privacy import DEFAULT_STDDEV_SHARE, OF_EACH_AGENT, PrivacyTerms

DEFAULT_DELTA: Final = 1e-5
"""δ of a job that gives none, unless its population asks for a smaller one."""
UNKNOWN_STEPS: Final = 2**53 - 1
"""Releases of one participation before the model is known: no ε is too small with this number."""
WITHOUT_DELTA: Final = frozenset({"metric", "features"})
"""Releases that have no ε, or one that holds with δ 0."""
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
    own = _TERMS[type(mechanism)](job, mechanism)
    if own["release"] in {"gaussian", "banded"} and own.get("noise") != "agents":
        own["noise_multiplier"] *= share_of_sum(aggregator, cohort)
    if accounting is not None and accounting.sampling == POISSON:
        rate = 1.0 if population is None else min(1.0, cohort / population)
        own |= {"sampling": POISSON, "relation": "add-or-remove-one", "rate": rate}
    return PrivacyTerms(
        mechanism=name,
        delta=0.0 if own["release"] in WITHOUT_DELTA else delta_of(job, mechanism),
        target_epsilon=None if accounting is None else accounting.target_epsilon,
        accountant="pld" if accounting is None else accounting.accountant,
        cohort=cohort,
        population=population,
        **own,
    )


def share_of_sum(aggregator: str, cohort: int) -> float:
    """Return the factor of a noise multiplier that is left with this aggregator."""
    return 1.0 if aggregator == AVERAGING else 1 / (2 * cohort)


def cohort_of(job: JobFile, mechanism: Mechanism) -> int:
    """Return the number of agents wanted in a round."""
    stated: int | None = getattr(mechanism, "num_sampled_clients", None)
    return job.round.agents if stated is None else stated


def delta_of(job: JobFile, mechanism: Mechanism) -> float:
    """Return the δ that a job gives, or the default for its number of agents or of examples."""
    accounting = job.privacy_mechanisms.accounting
    if accounting is not None and accounting.delta is not None:
        return accounting.delta
    units = job.strategy.population or cohort_of(job, mechanism)
    if isinstance(mechanism, DpSgd):
        units = mechanism.least_examples
    return min(DEFAULT_DELTA, math.pow(units, -1.1))


def mechanism_parameters(mechanism: Mechanism) -> dict[str, Argument]:
    """Return all parameters of a mechanism, defaults included, as those of its update transform."""
    values: dict[str, Argument] = mechanism.model_dump(exclude_none=True)
    values.pop("trained_numbers", None)  # for the accountant only
    match mechanism:
        case DpAdaptive(clip_count_stddev=None):
            values["clip_count_stddev"] = mechanism.num_sampled_clients * DEFAULT_STDDEV_SHARE
        case DpBanded(bands=None):
            values["bands"] = mechanism.min_separation
    return values


def _central(_: JobFile, mechanism: DpFixed | DpAdaptive) -> dict[str, Any]:
    return {
        "release": "gaussian",
        "noise": "collector" if mechanism.server_side_noising else "agents",
        "clipping": "enforced" if mechanism.server_side_noising else "trusted",
        "noise_multiplier": mechanism.noise_multiplier,
    }


def _banded(_: JobFile, mechanism: DpBanded) -> dict[str, Any]:
    return {
        "release": "banded",
        "correlated": True,
        "noise_multiplier": mechanism.noise_multiplier,
        "bands": mechanism.bands or mechanism.min_separation,
        "min_separation": mechanism.min_separation,
        "max_participations": mechanism.max_participations,
    }


def _metric(_: JobFile, __: MetricPrivacy) -> dict[str, Any]:
    return {"release": "metric", "noise_multiplier": 0.0}


def _local(release: str, noise_multiplier: float, **more: object) -> dict[str, Any]:
    return {
        "release": release,
        "relation": "replace-one",
        **OF_EACH_AGENT,
        "noise_multiplier": noise_multiplier,
        **more,
    }


def _ldp_laplace(_: JobFile, mechanism: LdpLaplace) -> dict[str, Any]:
    return _local("laplace", 1 / mechanism.epsilon)


def _ldp_gaussian(_: JobFile, mechanism: LdpGaussian) -> dict[str, Any]:
    """Return the terms of noise in one update: two updates differ by twice the clipping norm."""
    return _local("gaussian", mechanism.noise_multiplier / 2)


def _ldp_randomized_response(_: JobFile, mechanism: LdpRandomizedResponse) -> dict[str, Any]:
    """Return the terms of random bits: one is drawn with p, and right with 1 - p / 2 in all."""
    bits = UNKNOWN_STEPS if mechanism.trained_numbers is None else mechanism.trained_numbers
    return _local("randomized-response", 2 / (math.exp(mechanism.epsilon) + 1), steps=bits)


def _dp_sgd(job: JobFile, mechanism: DpSgd) -> dict[str, Any]:
    """Return the terms of noisy gradients, for an agent with the fewest examples that it needs.

    The number of an agent's examples is no secret: gradients are divided by it, and an agent with
    too few declines. So one example is replaced by zero gradients, not left out.
    """
    steps = dp_sgd_steps(training_params_of(job), mechanism.least_examples)
    return {
        "unit": "example",
        "relation": "zero-out",
        "release": "dp-sgd",
        **OF_EACH_AGENT,
        "noise_multiplier": mechanism.noise_multiplier,
        "rate": steps.rate,
        "steps": steps.total,
    }


def _mistnet(_: JobFile, mechanism: Mistnet) -> dict[str, Any]:
    """Return the terms of random bits: each of an example's features costs ε / 2, once."""
    own = _local("features", 2 / mechanism.epsilon, steps=mechanism.features)
    return own | {"unit": "example"}


_TERMS: Final[Mapping[type[Any], Callable[[JobFile, Any], dict[str, Any]]]] = {
    DpFixed: _central,
    DpAdaptive: _central,
    DpBanded: _banded,
    MetricPrivacy: _metric,
    LdpLaplace: _ldp_laplace,
    LdpGaussian: _ldp_gaussian,
    LdpRandomizedResponse: _ldp_randomized_response,
    DpSgd: _dp_sgd,
    Mistnet: _mistnet,
}
"""What each mechanism states beside what all terms have."""
