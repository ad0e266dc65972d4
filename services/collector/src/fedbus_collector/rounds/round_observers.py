"""Observers of a round's combined update, as its strategy names them. Pure."""

from fedbus.compression.round_chance import round_rng
from fedbus.model.layout import Layout
from fedbus.model.sections import section_numbers
from fedbus_collector.aggregation.freezing_observer import FreezingObserver
from fedbus_collector.aggregation.sync_observer import SyncObserver
from fedbus_collector.aggregation.update_observers import UpdateObserver
from fedbus_collector.rounds.progress import RoundProgress


def observers_of(progress: RoundProgress, layout: Layout) -> tuple[UpdateObserver, ...]:
    """Make the observers; raise LayoutError if there are some and the model trains nothing."""
    strategy, plan = progress.request.strategy, progress.plan
    round_, numbers = progress.state_round, progress.state_numbers
    found: list[UpdateObserver] = []
    if strategy.freezing is not None:
        rng = round_rng("freezing", plan.job, plan.round, plan.task)
        trained = section_numbers(layout)
        found.append(FreezingObserver(strategy.freezing, round_, numbers, trained, rng))
    if strategy.sync is not None:
        found.append(SyncObserver(strategy.sync, round_, numbers))
    return tuple(found)
