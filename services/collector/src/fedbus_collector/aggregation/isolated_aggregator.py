"""Isolation of third-party aggregators, which may raise any exception or hang."""

from functools import partial

from fedbus.errors import PluginError
from fedbus.model.layout import Array
from fedbus.plugins import Aggregator
from fedbus.plugins.isolation import call_isolated

FOLD_TIMEOUT_SECONDS = 60.0
"""Time limit for one block; the built-in aggregator needs less than a millisecond."""


class IsolatedAggregator:
    """Calls an aggregator in a thread, on copies, and names it in error messages."""

    def __init__(
        self, name: str, aggregator: Aggregator, seconds: float = FOLD_TIMEOUT_SECONDS
    ) -> None:
        self._name, self._aggregator, self._seconds = name, aggregator, seconds

    def fold(self, total: Array, block: Array, weight: float, /) -> None:
        """Add one update's block, (numbers,), to `total`, (numbers,) float64, in place.

        Raises:
            PluginError: the aggregator raised, called exit, or exceeded the time limit.
        """
        new_total = total.copy()
        call = partial(self._aggregator.fold, new_total, block.copy(), weight)
        try:
            call_isolated(f"aggregator {self._name}", call, self._seconds)
        except PluginError as error:
            raise PluginError(f"aggregator {self._name!r}: {error}") from error
        total[:] = new_total
