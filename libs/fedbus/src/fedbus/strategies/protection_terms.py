"""Terms of a job's protection: how updates are encrypted or masked, resolved at submission. Pure.

A mean of encrypted updates is all that a collector can compute, since it cannot read their sum
either. So homomorphic encryption makes a strategy with a server optimizer FedAvg, as in aerOS.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from fedbus.encryption.encryption_terms import encryption_terms
from fedbus.encryption.parameters import DEFAULT_BITS
from fedbus.jobs import JobFault, JobFile
from fedbus.jobs.privacy_consistency import PRIVACY
from fedbus.jobs.protection_options import Homomorphic, Protection, SecureAggregation
from fedbus.plugins import Preset
from fedbus.privacy.noise_numbers import USUAL_DEVIATIONS
from fedbus.strategies.encryption_key_faults import (
    HOMOMORPHIC,
    EncryptionKeyFacts,
    encryption_key_faults,
    key_parameters,
)
from fedbus.strategies.privacy_terms import AVERAGING
from fedbus.training.params import PluginChoice
from fedbus.wire.encryption import EncryptionTerms, FixedPoint
from fedbus.wire.privacy import DEFAULT_STDDEV_SHARE
from fedbus.wire.secure_aggregation import SecureAggregationTerms
from fedbus.wire.strategies import Strategy

MASKING: Final = f"{PRIVACY}.secure-aggregation"
FEDAVG: Final = "fedavg"
MOST_EXAMPLES: Final = 2**31 - 1
"""`max_examples` of a job that gives none: no agent has more."""


def protection_key(protection: Protection) -> str:
    """Return the key of a protection in the job file."""
    return HOMOMORPHIC if isinstance(protection, Homomorphic) else MASKING


def forces_fedavg(job: JobFile, preset: Preset) -> bool:
    """Return whether encryption leaves out the server optimizer that a strategy's id stands for.

    A server optimizer that the job names itself is refused, and so is one with a half on agents.
    """
    return (
        job.privacy_mechanisms.homomorphic is not None
        and job.strategy.server_optimizer is None
        and preset.server_optimizer is not None
        and preset.objective is None
        and preset.aggregator.id == AVERAGING
    )


def protection_faults(
    job: JobFile, aggregator: str, known: EncryptionKeyFacts | None
) -> Iterator[JobFault]:
    """Yield why a job's updates cannot be hidden: by its aggregator, or by the encryption key."""
    protection = job.privacy_mechanisms.protection
    if protection is None:
        return
    if aggregator != AVERAGING:
        own = job.strategy.aggregator is not None
        yield JobFault(
            key="strategy.aggregator" if own else "strategy",
            problem=f"{aggregator} must see each update, which {protection_key(protection)} hides "
            "from the collector",
            hint="choose the aggregator mean, as fedavg and fedprox do, or leave "
            f"{protection_key(protection)} out",
        )
    if isinstance(protection, Homomorphic):
        yield from encryption_key_faults(job, protection, known)


def protected(strategy: Strategy, job: JobFile, key: EncryptionKeyFacts | None) -> Strategy:
    """Return a strategy with the terms of the job's protection, if it has one.

    Raises:
        SettingsError: The key cannot hold the sum of the round's numbers.
    """
    protection = job.privacy_mechanisms.protection
    if isinstance(protection, Homomorphic) and key is not None:
        return replace(strategy, encryption=_encryption_terms(strategy, job, protection, key))
    if isinstance(protection, SecureAggregation):
        return replace(strategy, masking=_masking_terms(strategy, job, protection))
    return strategy


def first_exponent(first_range: float) -> int:
    """Return the exponent of the least power of two that is not less than a range."""
    return math.ceil(math.log2(first_range))


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentNoise:
    """The norm that an agent clips its update to, and the standard deviation of its own noise."""

    norm: float
    deviation: float


def noise_of_agent(strategy: Strategy, job: JobFile) -> AgentNoise | None:
    """Return what each agent adds in the first round, if their noise is complete in a sum only."""
    terms, mechanisms = strategy.privacy, job.privacy_mechanisms
    if terms is None or terms.noise != "agents" or terms.entered == "with-plan":
        return None
    if (adaptive := mechanisms.dp_adaptive) is not None:
        norm, stddev = adaptive.init_clip_norm, adaptive.clip_count_stddev
        stddev = terms.cohort * DEFAULT_STDDEV_SHARE if stddev is None else stddev
        multiplier = (adaptive.noise_multiplier**-2 - (2 * stddev) ** -2) ** -0.5
    elif (fixed := mechanisms.dp_fixed) is not None:
        norm, multiplier = fixed.clipping_norm, fixed.noise_multiplier
    else:
        return None
    return AgentNoise(norm=norm, deviation=multiplier * norm / math.sqrt(terms.cohort))


def counts_equally(aggregator: PluginChoice) -> bool:
    """Return whether a mean counts every update equally."""
    return aggregator.parameters.get("weighted") is False


def _fixed_point(strategy: Strategy, job: JobFile, protection: Protection, bits: int) -> FixedPoint:
    first, noise = first_exponent(protection.first_range), noise_of_agent(strategy, job)
    if noise is not None:  # a range that cuts noise off leaves less of it than ε is computed for
        first = max(first, first_exponent(noise.norm + USUAL_DEVIATIONS * noise.deviation))
    equal = strategy.privacy is not None or counts_equally(strategy.aggregator)
    return FixedPoint(
        bits=bits,
        max_agents=job.round.agents,
        max_examples=1 if equal else protection.max_examples or MOST_EXAMPLES,
        first_range=first,
        adaptive=protection.adaptive_ranges,
    )


def _masking_terms(
    strategy: Strategy, job: JobFile, protection: SecureAggregation
) -> SecureAggregationTerms:
    return SecureAggregationTerms(
        fixed_point=_fixed_point(strategy, job, protection, protection.bits),
        neighbours=protection.neighbours,
        threshold=protection.threshold,
        step_seconds=protection.step_seconds,
    )


def _encryption_terms(
    strategy: Strategy, job: JobFile, protection: Homomorphic, key: EncryptionKeyFacts
) -> EncryptionTerms:
    fixed_point = _fixed_point(strategy, job, protection, protection.bits or DEFAULT_BITS)
    return encryption_terms(key.id, key_parameters(job, protection, key), fixed_point)
