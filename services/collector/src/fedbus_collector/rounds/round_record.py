"""Record of a round at its collector: from its progress, and from what the aggregate says. Pure."""

from dataclasses import replace
from itertools import islice

from fedbus.energy.energy_sums import total_energy
from fedbus.limits import MAX_INLINE_WEIGHTS_BYTES
from fedbus.training.metrics_mean import mean_metrics, sendable
from fedbus.training.options import as_training_metrics
from fedbus.wire.blobs import EncryptedVersion, ModelRef
from fedbus.wire.privacy import PrivacySpent
from fedbus.wire.round_records import Contributor, Refusal, RoundRecord
from fedbus.wire.round_traffic import RoundTraffic
from fedbus.wire.strategies import StrategyState
from fedbus_collector.aggregation.combined_blocks import UsedCoefficients
from fedbus_collector.rounds.encrypted_plan import encryption_of_new_version
from fedbus_collector.rounds.progress import MAX_REFUSAL_CHARACTERS, RoundProgress

MAX_RECORDED_METRICS = 4096
"""Metrics of all contributors together in a round's record, which is one message."""


def record_of(
    progress: RoundProgress,
    used: UsedCoefficients,
    state: StrategyState | None = None,
    spent: PrivacySpent | None = None,
) -> RoundRecord:
    """Build the round's record; metrics and reasons of a large cohort are cut to fit.

    The metrics of updates that are not used are in no mean: a rule may have excluded them. A
    private job has none: they are functions of the agents' data, and have no noise. `state` is
    what the worker leaves for the next round; the record has none if the strategy keeps nothing.
    """
    plan = progress.plan
    factors = used.updates or {}
    contributors = tuple(
        replace(progress.counted[agent], coefficient=factors.get(agent))
        for agent in progress.counted_agents
    )
    used_ones = [one for one in contributors if one.coefficient != 0]
    return RoundRecord(
        job=plan.job,
        round=plan.round,
        task=plan.task,
        model=plan.base.model,
        parent=plan.base.version,
        spec=plan.base.spec,
        strategy=progress.request.strategy,
        contributors=tuple(_with_fewer_metrics(one, len(contributors)) for one in contributors),
        refusals=tuple(
            _refusal(progress, agent) for agent in plan.cohort if agent not in progress.counted
        ),
        metrics=sendable(as_training_metrics(mean_metrics(used_ones))),
        seconds=dict(progress.seconds),
        base_coefficient=used.base,
        state=_state(progress, state),
        privacy=spent,
        encryption=_encryption(progress),
        energy=total_energy(one.energy for one in contributors),
        traffic=_traffic(progress),
    )


def _state(progress: RoundProgress, kept: StrategyState | None) -> StrategyState | None:
    """Return the strategy's state after this round; None if it keeps nothing for the next one."""
    before, strategy = progress.plan.state, progress.request.strategy
    changes = strategy.server_optimizer is not None or strategy.update_transforms or strategy.state
    if not changes and strategy.fixed_point is None and before is None:
        return None
    kept = kept or StrategyState(rounds=progress.state_round)
    return replace(kept, ranges=progress.next_ranges)


def _encryption(progress: RoundProgress) -> EncryptedVersion | None:
    terms, base = progress.request.strategy.encryption, progress.plan.base
    return None if terms is None else encryption_of_new_version(base, terms)


def _traffic(progress: RoundProgress) -> RoundTraffic:
    base, wants_thin = progress.plan.base, progress.request.strategy.download
    plain = base.weights if base.encryption is None else base.encryption.anchor_weights
    offers = (progress.offers[agent] for agent in progress.counted_agents)
    return RoundTraffic(
        updates=sum(offer.update.size for offer in offers),
        version=downloaded_bytes(base, thin=bool(wants_thin)),
        plain=plain.size,
    )


def downloaded_bytes(base: ModelRef, *, thin: bool) -> int:
    """Return the bytes of a base that each agent gets: of the thin blob, if the job asks for it.

    The weights of a small base are sent inside the tasks, whole, in place of a thin blob.
    """
    fetched = thin and base.weights.size > MAX_INLINE_WEIGHTS_BYTES
    return (base if fetched else base.whole).download.size


def _refusal(progress: RoundProgress, agent: str) -> Refusal:
    reason = progress.refused.get(agent, "no update by the deadline")
    return Refusal(agent=agent, reason=reason[:MAX_REFUSAL_CHARACTERS])


def _with_fewer_metrics(contributor: Contributor, contributors: int) -> Contributor:
    """Keep at most an equal share of MAX_RECORDED_METRICS for each contributor."""
    share = MAX_RECORDED_METRICS // contributors
    if len(contributor.metrics) <= share:
        return contributor
    return replace(contributor, metrics=dict(islice(contributor.metrics.items(), share)))
