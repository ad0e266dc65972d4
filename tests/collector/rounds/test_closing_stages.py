"""Closing stages: in their order, each begun once, waited for until it is done."""

from collections.abc import Iterator
from dataclasses import dataclass

from fedbus.core.actions import Action, Note
from fedbus_collector.rounds.closing_stages import ClosingStages
from fedbus_collector.rounds.progress import RoundPhase, RoundProgress
from tests.collector.harness import order


@dataclass
class _Stage:
    phase: RoundPhase
    done: bool = False

    def begin(self, now: float) -> Iterator[Action]:
        yield Note(f"{self.phase} begun", {"at": now})


def test_each_stage_begins_once_the_one_before_is_done() -> None:
    """And once only, however often the round proceeds."""
    progress = RoundProgress(order(), 0.0)
    first, second = _Stage(RoundPhase.RECORDING), _Stage(RoundPhase.AGGREGATING, done=True)
    stages = ClosingStages(progress, first, second)
    assert list(stages.proceed(1.0)) == [Note("recording begun", {"at": 1.0})]
    assert list(stages.proceed(2.0)) == []
    assert (progress.phase, stages.done) == (RoundPhase.RECORDING, False)
    first.done = True
    assert list(stages.proceed(3.0)) == [Note("aggregating begun", {"at": 3.0})]
    assert (progress.phase, stages.done) == (RoundPhase.AGGREGATING, True)


def test_a_round_without_stages_is_done_at_once() -> None:
    """Its phase stays what it was."""
    progress = RoundProgress(order(), 0.0)
    stages = ClosingStages(progress)
    assert list(stages.proceed(1.0)) == []
    assert (progress.phase, stages.done) == (RoundPhase.PREPARING, True)
