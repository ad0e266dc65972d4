"""Stages between a round's last update and its aggregate, such as the ledger's entry. Pure.

A plain round has none. A private one asks for its ledger entry (`round_privacy.py`), and a masked
one has its agents agree on the survivors before that, and unmask their sum after it
(`masked_round_driver.py`).
"""

from collections.abc import Iterator
from typing import Protocol

from fedbus.core.actions import Action
from fedbus_collector.rounds.progress import RoundPhase, RoundProgress


class ClosingStage(Protocol):
    """One stage; what it waits for arrives at the object that it is a part of."""

    @property
    def phase(self) -> RoundPhase:
        """The round's phase while the stage waits."""
        ...

    @property
    def done(self) -> bool:
        """Whether it needs nothing more."""
        ...

    def begin(self, now: float, /) -> Iterator[Action]:
        """Ask for what it needs."""
        ...


class ClosingStages:
    """The stages of one round, in their order."""

    def __init__(self, progress: RoundProgress, *stages: ClosingStage) -> None:
        self._progress = progress
        self._left = list(stages)
        self._current: ClosingStage | None = None

    @property
    def done(self) -> bool:
        """Whether no stage is left: the updates may be combined."""
        return not self._left

    def proceed(self, now: float) -> Iterator[Action]:
        """Begin each stage once the one before is done."""
        while self._left:
            stage = self._left[0]
            if stage is not self._current:
                self._current, self._progress.phase = stage, stage.phase
                yield from stage.begin(now)
            if not stage.done:
                return
            del self._left[0]
