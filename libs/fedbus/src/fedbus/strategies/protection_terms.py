"""Terms of a job's protection: how updates are encrypted or masked, resolved at submission. Pure.

A mean of encrypted updates is all that a collector can compute, since it cannot read their sum
either. So homomorphic encryption makes a strategy with a server optimizer FedAvg, as in aerOS.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Final

from fedbus.jobs import JobFault, JobFile
from fedbus.jobs.privacy_consistency import PRIVACY
from fedbus.jobs.protection_options import Homomorphic, Protection, SecureAggregation
from fedbus.plugins import Preset
from fedbus.strategies.privacy_terms import AVERAGING
from fedbus.training.params import PluginChoice
from fedbus.wire.encryption import EncryptionTerms, FixedPoint
from fedbus.wire.identifiers import Digest
from fedbus.wire.secure_aggregation import SecureAggregationTerms
from fedbus.wire.strategies import Strategy

HOMOMORPHIC: Final = f"{PRIVACY}.homomorphic"
MASKING: Final = f"{PRIVACY}.secure-aggregation"
FEDAVG: Final = "fedavg"
MOST_EXAMPLES: Final = 2**31 - 1
"""`max_examples` of a job that gives none: no agent has more."""
DEFAULT_BITS: Final = 11
"""Bits of one number of an encrypted update, if the job gives none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionKeyFacts:
    """What a controller knows about the encryption key that its jobs use."""

    id: Digest


UNKNOWN_KEY: Final = EncryptionKeyFacts(id="0" * 64)
"""The key of a job file that is checked without a controller."""


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


def key_faults(job: JobFile, known: EncryptionKeyFacts | None) -> Iterator[JobFault]:
    """Yield why a job cannot be encrypted with the controller's key."""
    wanted = job.privacy_mechanisms.homomorphic
    if wanted is None:
        return
    if known is None:
        yield JobFault(
            key=HOMOMORPHIC,
            problem="the controller has no encryption key, so no agent could encrypt an update",
            hint="make a pair of keys with `fedbus keys generate FOLDER`, give its public.key to "
            "controllers, collectors and repository and its secret.key to agents, each as "
            "FEDBUS_ENCRYPTION_KEY; or choose secure-aggregation, which needs no key",
        )
    elif known != UNKNOWN_KEY and wanted.key is not None and not known.id.startswith(wanted.key):
        yield JobFault(
            key=f"{HOMOMORPHIC}.key",
            problem=f"{wanted.key}, but the controller's encryption key is {known.id[:16]}",
            hint="leave it out, or start controllers, collectors, repository and agents with the "
            "other key",
        )


def protected(strategy: Strategy, job: JobFile, key: EncryptionKeyFacts | None) -> Strategy:
    """Return a strategy with the terms of the job's protection, if it has one."""
    protection = job.privacy_mechanisms.protection
    if isinstance(protection, Homomorphic) and key is not None:
        return replace(strategy, encryption=_encryption_terms(strategy, job, protection, key))
    if isinstance(protection, SecureAggregation):
        return replace(strategy, masking=_masking_terms(strategy, job, protection))
    return strategy


def first_exponent(first_range: float) -> int:
    """Return the exponent of the least power of two that is not less than a range."""
    return math.ceil(math.log2(first_range))


def counts_equally(aggregator: PluginChoice) -> bool:
    """Return whether a mean counts every update equally."""
    return aggregator.parameters.get("weighted") is False


def _fixed_point(strategy: Strategy, job: JobFile, protection: Protection, bits: int) -> FixedPoint:
    equal = strategy.privacy is not None or counts_equally(strategy.aggregator)
    return FixedPoint(
        bits=bits,
        max_agents=job.round.agents,
        max_examples=1 if equal else protection.max_examples or MOST_EXAMPLES,
        first_range=first_exponent(protection.first_range),
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
    ckks = protection.chosen_scheme == "ckks"
    terms = EncryptionTerms(
        scheme=protection.chosen_scheme,
        key=key.id,
        parameters=key.id,
        poly_modulus_degree=protection.poly_modulus_degree or 4096,
        coeff_mod_bit_sizes=protection.coeff_mod_bit_sizes or ((36, 36) if ckks else (54, 55)),
        scale_bits=(protection.scale_bits or 26) if ckks else 0,
        fixed_point=_fixed_point(strategy, job, protection, protection.bits or DEFAULT_BITS),
    )
    plain = {name: value for name, value in asdict(terms).items() if name != "parameters"}
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
    return replace(terms, parameters=digest)
