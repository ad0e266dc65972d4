"""Warnings about an accepted job: what its protection and its steps do, and do not do."""

from collections.abc import Iterator
from typing import Final

from fedbus.jobs import JobFile
from fedbus.secure_aggregation.neighbours import tolerance_of
from fedbus.strategies.encryption_key_faults import HOMOMORPHIC
from fedbus.strategies.protection_terms import MASKING, protection_key
from fedbus.strategies.strategy_names import preset_id
from fedbus.text import counted
from fedbus.wire.secure_aggregation import SecureAggregationTerms
from fedbus.wire.strategies import Strategy

LEAST_HIDDEN_AGENTS: Final = 3
"""Updates in a sum that hides each of them from the agents of the others."""


def protection_warnings(job: JobFile, strategy: Strategy) -> Iterator[str]:
    """Yield warnings about how updates are hidden and made smaller, and about energy."""
    yield from _forced_fedavg(job, strategy)
    yield from _noise_of_agents(job, strategy)
    yield from _clipping_by_word(strategy)
    yield from _readable_figures(job, strategy)
    yield from _one_key(strategy)
    yield from _small_sums(job, strategy)
    if strategy.masking is not None:
        yield from _threshold(strategy.masking, job.round.agents)
    yield from _other_epochs(job, strategy)
    yield from _no_energy(job, strategy)


def _forced_fedavg(job: JobFile, strategy: Strategy) -> Iterator[str]:
    asked = preset_id(job.strategy.id)
    if strategy.encryption is not None and asked not in {None, strategy.id}:
        yield (
            f"strategy: {asked} becomes {strategy.id}, since the collector cannot read the "
            "encrypted sum that a server optimizer needs; its parameters have no effect"
        )


def _noise_of_agents(job: JobFile, strategy: Strategy) -> Iterator[str]:
    """Warn of noise that agents draw since the job does not say who does."""
    protection, terms = job.privacy_mechanisms.protection, strategy.privacy
    central = job.privacy_mechanisms.dp_fixed or job.privacy_mechanisms.dp_adaptive
    if protection is None or terms is None or central is None:
        return
    if central.server_side_noising is None:
        yield (
            f"privacy-mechanisms.{terms.mechanism}.server_side_noising: none is given, so it is "
            f"false with {protection_key(protection)}: each agent adds a share of the noise, and "
            "an agent that adds none leaves the others with less"
        )


def _clipping_by_word(strategy: Strategy) -> Iterator[str]:
    hidden = strategy.fixed_point is not None
    if hidden and strategy.privacy is not None and strategy.privacy.unit == "agent":
        yield (
            f"privacy-mechanisms.{strategy.privacy.mechanism}: the collector cannot measure hidden "
            "updates, so the bound of what one agent changes is by the word of each agent"
        )


def _readable_figures(job: JobFile, strategy: Strategy) -> Iterator[str]:
    """Warn of what is sent in clear beside a hidden update."""
    protection, fixed_point = job.privacy_mechanisms.protection, strategy.fixed_point
    if protection is None or fixed_point is None:
        return
    key = protection_key(protection)
    if strategy.privacy is None and fixed_point.adaptive:
        yield (
            f"{key}.adaptive_ranges: each agent states in clear the power of two that each tensor "
            "of its update needs; false states none, and first_range must then suffice"
        )
    if "norm_bit" in strategy.facts:
        yield (
            f"{key}: each agent states in clear, with its share of the noise, whether its update "
            "was clipped; dp-fixed needs no such figure"
        )


def _one_key(strategy: Strategy) -> Iterator[str]:
    if strategy.encryption is not None:
        yield (
            f"{HOMOMORPHIC}: all agents have the same secret key, so one agent and the collector "
            "together can read every update"
        )


def _small_sums(job: JobFile, strategy: Strategy) -> Iterator[str]:
    """Warn of versions from which an agent, who can read them, computes the update of another."""
    quorum = job.round.quorum
    if strategy.encryption is not None and 0 < quorum < LEAST_HIDDEN_AGENTS:
        yield (
            f"round.quorum: {quorum}, so a version may be the sum of {counted(quorum, 'update')}, "
            "and each agent can read versions: one of them then reads the update of another; give "
            f"{LEAST_HIDDEN_AGENTS} or more"
        )


def _threshold(masking: SecureAggregationTerms, agents: int) -> Iterator[str]:
    tolerance = tolerance_of(masking, agents)
    size, lost = counted(tolerance.size, "agent"), tolerance.drop_outs
    most = tolerance.colluders
    trusted = "none collude" if most == 0 else f"at most {most} collude"
    yield (
        f"{MASKING}.threshold: {tolerance.least} of the {size} of a neighbourhood are "
        f"needed to unmask a sum, so a round fails if more than {lost} of one neighbourhood drop "
        f"out, and a dishonest collector reads nothing but sums as long as {trusted} with it in "
        "one neighbourhood"
    )


def _other_epochs(job: JobFile, strategy: Strategy) -> Iterator[str]:
    config = job.config[0] if job.config else None
    if strategy.sync is None or config is None or "epochs" not in config.model_fields_set:
        return
    if config.epochs != strategy.sync.epochs:
        yield (
            f"config.epochs: {config.epochs} has no effect with adaptive-sync, whose "
            f"sync_frequency is {strategy.sync.epochs}"
        )


def _no_energy(job: JobFile, strategy: Strategy) -> Iterator[str]:
    if job.energy and not strategy.measures_energy:
        yield (
            "energy: it depends on the data of each agent, so that of private, encrypted and "
            "masked trainings is not measured"
        )
