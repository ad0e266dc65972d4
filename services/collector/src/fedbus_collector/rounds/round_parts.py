"""Parts of the strategy of one round: made at once, or in a worker thread. Pure."""

from collections.abc import Iterator
from functools import partial

from fedbus.core.actions import Action, Run
from fedbus_collector import keys
from fedbus_collector.collector_parts import PartsFactory, StrategyParts
from fedbus_collector.rounds.progress import RoundProgress


class RoundParts:
    """Has the parts of a round's strategy made.

    Attributes:
        made: The parts; None before they are made.
        making: Whether a worker thread makes them.
    """

    def __init__(self, progress: RoundProgress, factory: PartsFactory) -> None:
        self.made: StrategyParts | None = None
        self.making = False
        self._progress = progress
        self._factory = factory

    def make(self) -> Iterator[Action]:
        """Make the parts, unless they are made.

        Those that fedbus ships are made at once; a third-party part may hang when it is made.
        """
        strategy = self._progress.request.strategy
        if self.made is None and self._factory.third_party(strategy):
            self.making = True
            yield Run(keys.PartsRun(*self._progress.key), partial(self._factory.make, strategy))
        elif self.made is None:
            self.made = self._factory.make(strategy)

    def take(self, parts: StrategyParts) -> None:
        """Take over what the worker thread has made."""
        self.made, self.making = parts, False
