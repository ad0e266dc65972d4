"""Table of privacy mechanisms: what each promises, and what it needs of a strategy. Pure.

A row is all that fedbus has to know about a mechanism beside its options in the job file
(`fedbus.jobs.privacy_options`) and its part (`fedbus.strategies.privacy_mechanisms`).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fedbus.jobs import JobFile, training_params_of
from fedbus.jobs.privacy_options import (
    DpAdaptive,
    DpBanded,
    DpFixed,
    DpSgd,
    LdpGaussian,
    LdpLaplace,
    LdpRandomizedResponse,
    MetricPrivacy,
    Mistnet,
)
from fedbus.training.dp_sgd import dp_sgd_steps
from fedbus.wire.privacy import OF_EACH_AGENT

UNKNOWN_STEPS: Final = 2**53 - 1
"""Releases of one participation before the model is known: no ε is too small with this number."""

OwnTerms = dict[str, Any]
"""Fields of `PrivacyTerms` that a mechanism states itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MechanismRules:
    """A row of the table.

    Attributes:
        terms: Returns what the mechanism with its options states beside what all terms have.
        fixed_denominator: Whether its mean is divided by the number of agents wanted, which bounds
            what one agent changes; with another aggregator its noise is worth less.
        has_part: Whether an update transform of its id does it; else a trainer does.
        has_delta: Whether its ε is for a δ; else it holds with δ 0, or there is none.
    """

    terms: Callable[[JobFile, Any], OwnTerms]
    fixed_denominator: bool = False
    has_part: bool = True
    has_delta: bool = True


def _central(job: JobFile, mechanism: DpFixed | DpAdaptive) -> OwnTerms:
    at_collector = job.privacy_mechanisms.collector_noises
    return {
        "release": "gaussian",
        "noise": "collector" if at_collector else "agents",
        "clipping": _clipping(job, at_collector=at_collector),
        "noise_multiplier": mechanism.noise_multiplier,
    }


def _clipping(job: JobFile, *, at_collector: bool) -> str:
    """Return who makes sure that no update is too long: a collector that can read it, or agents."""
    readable = job.privacy_mechanisms.protection is None
    return "enforced" if at_collector and readable else "trusted"


def _banded(job: JobFile, mechanism: DpBanded) -> OwnTerms:
    return {
        "release": "banded",
        "clipping": _clipping(job, at_collector=True),
        "correlated": True,
        "noise_multiplier": mechanism.noise_multiplier,
        "bands": mechanism.bands or mechanism.min_separation,
        "min_separation": mechanism.min_separation,
        "max_participations": mechanism.max_participations,
    }


def _metric(_: JobFile, __: MetricPrivacy) -> OwnTerms:
    return {"release": "metric", "noise_multiplier": 0.0}


def _local(release: str, noise_multiplier: float, **more: object) -> OwnTerms:
    return {
        "release": release,
        "relation": "replace-one",
        **OF_EACH_AGENT,
        "noise_multiplier": noise_multiplier,
        **more,
    }


def _ldp_laplace(_: JobFile, mechanism: LdpLaplace) -> OwnTerms:
    return _local("laplace", 1 / mechanism.epsilon)


def _ldp_gaussian(_: JobFile, mechanism: LdpGaussian) -> OwnTerms:
    """Return the terms of noise in one update: two updates differ by twice the clipping norm."""
    return _local("gaussian", mechanism.noise_multiplier / 2)


def _ldp_randomized_response(_: JobFile, mechanism: LdpRandomizedResponse) -> OwnTerms:
    """Return the terms of random bits: one is drawn with p, and right with 1 - p / 2 in all."""
    bits = UNKNOWN_STEPS if mechanism.trained_numbers is None else mechanism.trained_numbers
    return _local("randomized-response", 2 / (math.exp(mechanism.epsilon) + 1), steps=bits)


def _dp_sgd(job: JobFile, mechanism: DpSgd) -> OwnTerms:
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


def _mistnet(_: JobFile, mechanism: Mistnet) -> OwnTerms:
    """Return the terms of random bits: each of an example's features costs ε / 2, once."""
    own = _local("features", 2 / mechanism.epsilon, steps=mechanism.features)
    return own | {"unit": "example"}


MECHANISM_RULES: Final[Mapping[str, MechanismRules]] = {
    "dp-fixed": MechanismRules(terms=_central, fixed_denominator=True),
    "dp-adaptive": MechanismRules(terms=_central, fixed_denominator=True),
    "dp-banded": MechanismRules(terms=_banded, fixed_denominator=True),
    "metric-privacy": MechanismRules(terms=_metric, fixed_denominator=True, has_delta=False),
    "ldp-laplace": MechanismRules(terms=_ldp_laplace),
    "ldp-gaussian": MechanismRules(terms=_ldp_gaussian),
    "ldp-randomized-response": MechanismRules(terms=_ldp_randomized_response),
    "dp-sgd": MechanismRules(terms=_dp_sgd, has_part=False),
    "mistnet": MechanismRules(terms=_mistnet, has_part=False, has_delta=False),
}
"""The rules of each mechanism, by its key in `privacy-mechanisms`."""
