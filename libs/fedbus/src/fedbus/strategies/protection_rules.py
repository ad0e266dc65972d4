"""Combinations of encryption or masks with a job's strategy and rounds that cannot work. Pure.

Each rule is one function, as those of `combinations`. What an aggregator or the encryption key
makes impossible is a fault of resolution: see `protection_terms`.
"""

from collections.abc import Iterator
from typing import Final

from fedbus.jobs import JobFault, JobFile
from fedbus.jobs.privacy_consistency import ACCOUNTING, PRIVACY
from fedbus.jobs.protection_options import Homomorphic, Protection
from fedbus.privacy.composed_noise import is_amplified
from fedbus.privacy.terms_faults import hidden_terms_faults
from fedbus.secure_aggregation.masked_task import LEAST_MASKED_AGENTS
from fedbus.secure_aggregation.neighbours import least_of, tolerance_of
from fedbus.strategies.encryption_key_faults import HOMOMORPHIC
from fedbus.strategies.hidden_noise_rules import hidden_noise_faults
from fedbus.strategies.protection_terms import MASKING, protection_key
from fedbus.strategies.resolution import ResolvedStrategy
from fedbus.text import counted, listed
from fedbus.training.options import TRAINING_PREFIX
from fedbus.wire.privacy import PrivacyTerms
from fedbus.wire.secure_aggregation import MAX_MASKED_AGENTS, SecureAggregationTerms

_SENT: Final = frozenset({"norm_bit"})
"""Facts that agents send beside a hidden update, with the noise of the mechanism that asks."""
_READING: Final = {
    "metric-privacy": "its noise depends on how far the updates are apart",
    "mistnet": "its agents send features, and one of them trains",
}
"""Mechanisms that cannot be combined with either protection, each with the reason."""


def protection_rule_faults(job: JobFile, resolved: ResolvedStrategy) -> Iterator[JobFault]:
    """Yield a fault for each combination with encryption or masks that cannot work."""
    protection = job.privacy_mechanisms.protection
    if protection is None:
        return
    key, terms = protection_key(protection), resolved.strategy.privacy
    yield from _readable_parts(resolved, key)
    yield from _no_steps(job, key)
    yield from _no_training_targets(job, key)
    yield from _weights(resolved, protection, key)
    if terms is not None:
        yield from _mechanism(terms, key)
    yield from hidden_noise_faults(job, resolved, key)
    if isinstance(protection, Homomorphic):
        yield from _readable_sum(job, resolved)
        yield from _version_of_one(job)
    if (masking := resolved.strategy.masking) is not None:
        yield from _masked_rounds(job, masking)


def _readable_parts(resolved: ResolvedStrategy, key: str) -> Iterator[JobFault]:
    """Yield faults of parts that need more of each agent than a sum."""
    strategy = resolved.strategy
    if strategy.sections:
        yield JobFault(
            key=key,
            problem=f"it hides the differences of an update only, and {strategy.id} adds "
            f"{listed(map(repr, strategy.sections))} to it, from which they can be computed",
            hint="choose a strategy without such arrays, such as fedavg or fedprox",
        )
    elif asked := [name for name in strategy.facts if name not in _SENT]:
        yield JobFault(
            key=key,
            problem=f"{strategy.id} needs {listed(map(repr, asked))} of each agent, exact figures "
            "of its data, which agents do not send with hidden updates",
            hint="choose a strategy that needs none, such as fedavg or fedprox",
        )
    elif (resolved.objective or {}).get("after"):
        yield JobFault(
            key=key,
            problem=f"each agent of {strategy.id} keeps arrays that must match the updates in the "
            "sum, and an agent does not know whether its hidden update is in it",
            hint="choose a strategy without such arrays, such as fedavg or fedprox",
        )


def _no_steps(job: JobFile, key: str) -> Iterator[JobFault]:
    """Yield faults of steps for smaller blobs: hidden numbers are as many bytes as random ones."""
    sent = any(step.id != "simple" for step in job.transmitter)
    for name, used in (("transmitter", sent), ("download", bool(job.download))):
        if used:
            yield JobFault(
                key=name,
                problem=f"given, but {key} sends all numbers of an update in bits that look "
                "random: none can be left out, and nothing makes them fewer",
                hint=f"leave it out; {key}.bits makes updates smaller",
            )


def _no_training_targets(job: JobFile, key: str) -> Iterator[JobFault]:
    for metric in job.stopping_target:
        if metric.startswith(TRAINING_PREFIX):
            yield JobFault(
                key=f"stopping_target.{metric}",
                problem=f"a metric of the agents' training data, which none of them sends with "
                f"{key}",
                hint=f"name {metric.removeprefix(TRAINING_PREFIX)}, which evaluators measure on "
                "their own data",
            )


def _weights(resolved: ResolvedStrategy, protection: Protection, key: str) -> Iterator[JobFault]:
    """Yield faults of weights: of agents that count alike, or of a sum that is not divided."""
    terms, most = resolved.strategy.privacy, protection.max_examples
    parameters = resolved.strategy.aggregator.parameters
    equal = terms is not None or parameters.get("weighted") is False
    if equal and most not in {None, 1}:
        why = "the strategy" if terms is None else terms.mechanism
        yield JobFault(
            key=f"{key}.max_examples",
            problem=f"{most}, but {why} counts every update equally",
            hint="leave it out",
        )
    divisor = parameters.get("divisor")
    if divisor is not None and isinstance(protection, Homomorphic):
        yield JobFault(
            key="strategy.parameters.divisor",
            problem=f"{divisor}, but agents divide an encrypted sum by the number of its updates",
            hint="leave it out",
        )


def _mechanism(terms: PrivacyTerms, key: str) -> Iterator[JobFault]:
    """Yield faults of a privacy mechanism that needs the collector to read updates."""
    name = f"{PRIVACY}.{terms.mechanism}"
    if terms.mechanism in _READING:
        yield JobFault(
            key=name,
            problem=f"{_READING[terms.mechanism]}, which the collector cannot see with {key}",
            hint=f"choose dp-fixed, or leave {key} out",
        )
    elif terms.noise == "collector" and key == HOMOMORPHIC:
        if terms.correlated:
            problem = "its noise is drawn by the collector, which cannot read an encrypted sum"
            yield JobFault(
                key=name,
                problem=problem,
                hint="choose dp-fixed, whose noise agents can add, or secure-aggregation in place "
                "of homomorphic",
            )
        else:
            yield JobFault(
                key=f"{name}.server_side_noising",
                problem="true, but the collector cannot read an encrypted sum to add noise to it",
                hint="leave it out: each agent adds a share of the noise",
            )
    if terms.poisson and is_amplified(terms):  # else `terms_faults` says why it is of no use
        yield from (
            fault
            for fault in hidden_terms_faults(terms, encrypted=key == HOMOMORPHIC)
            if fault.key == f"{ACCOUNTING}.sampling"
        )


def _readable_sum(job: JobFile, resolved: ResolvedStrategy) -> Iterator[JobFault]:
    """Yield faults of what the collector would do with the sum, which it cannot read."""
    server = resolved.strategy.server_optimizer
    if server is not None and not resolved.strategy.sections:
        yield JobFault(
            key="strategy.server_optimizer" if job.strategy.server_optimizer else "strategy",
            problem=f"'{server.id}', but the collector cannot read an encrypted sum to make a step "
            "with it",
            hint="leave it out: the strategy is fedavg; or choose secure-aggregation in place of "
            "homomorphic",
        )
    for number, attributes in enumerate(
        resolved.update_transforms[: len(job.strategy.update_transforms)]
    ):
        if attributes.get("transform_combined"):
            yield JobFault(
                key=f"strategy.update_transforms[{number}]",
                problem=f"'{resolved.strategy.update_transforms[number].id}' changes the combined "
                "update, and the collector cannot read an encrypted sum",
                hint="leave it out, or choose secure-aggregation in place of homomorphic",
            )


def _version_of_one(job: JobFile) -> Iterator[JobFault]:
    """Yield a fault if a round of several agents may end with the update of one."""
    if job.round.agents > 1 and job.round.quorum == 1:
        yield JobFault(
            key="round.quorum",
            problem=f"1, but the sum of one update hides nothing from who reads or releases it, "
            f"and {counted(job.round.agents, 'agent')} are asked",
            hint=f"give 2 to {job.round.agents}",
        )


def _masked_rounds(job: JobFile, masking: SecureAggregationTerms) -> Iterator[JobFault]:
    """Yield faults of the size of masked rounds."""
    agents, quorum = job.round.agents, job.round.quorum
    if not LEAST_MASKED_AGENTS <= agents <= MAX_MASKED_AGENTS:
        yield JobFault(
            key="round.agents",
            problem=f"expected {LEAST_MASKED_AGENTS} to {MAX_MASKED_AGENTS} with {MASKING}, got "
            f"{agents}",
        )
        return
    least = max(LEAST_MASKED_AGENTS, least_of(masking.threshold, agents))
    if 0 < quorum < least:  # 0 with Poisson sampling, which is refused for itself
        key = "quorum" if "quorum" in job.round.model_fields_set else "agents"
        got = f"{quorum}" if key == "quorum" else f"{agents}, so a quorum of {quorum}"
        yield JobFault(
            key=f"round.{key}",
            problem=f"{got}, but {MASKING} unmasks no sum of fewer than {least} of {agents} agents "
            f"(threshold {masking.threshold:g})",
            hint=f"give round.quorum of {least} to {agents}",
        )
    tolerance = tolerance_of(masking, agents)
    if tolerance.colluders < 0:
        size = tolerance.size
        too_few = -(-(2 * size + 2) // 3) - 1
        yield JobFault(
            key=f"{MASKING}.threshold",
            problem=f"{masking.threshold:g}, but in neighbourhoods of {size} among {agents} agents "
            "a dishonest collector could have different sets unmasked at different places",
            hint=f"give {(100 * too_few // size + 1) / 100:g} or more, or neighbours of "
            f"{agents - 1}",
        )
