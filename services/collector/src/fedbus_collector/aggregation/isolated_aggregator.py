"""Isolation of third-party aggregators, which may raise any exception or hang."""

import threading

from fedbus.errors import PluginError
from fedbus.model.layout import Array
from fedbus.plugins import Aggregator
from fedbus.plugins.discovery import error_message

FOLD_TIMEOUT_SECONDS = 60.0
"""Time limit for one block; the built-in aggregator needs less than a millisecond."""


class IsolatedAggregator:
    """Calls a third-party aggregator in a thread, and names it in error messages.

    The aggregator gets copies: a Python thread cannot be killed, and one that exceeds the time
    limit must not write into memory that another round may use by then.
    """

    def __init__(
        self, name: str, aggregator: Aggregator, seconds: float = FOLD_TIMEOUT_SECONDS
    ) -> None:
        self._name, self._aggregator, self._seconds = name, aggregator, seconds

    def fold(self, total: Array, block: Array, weight: float, /) -> None:
        """Add one update's block, (numbers,), to `total`, (numbers,) float64, in place.

        Raises:
            PluginError: the aggregator raised, called exit, or exceeded the time limit.
        """
        work, own, raised = total.copy(), block.copy(), list[BaseException]()

        def call() -> None:
            try:
                self._aggregator.fold(work, own, weight)
            except BaseException as error:  # noqa: BLE001 - the thread runs only the plug-in
                raised.append(error)

        thread = threading.Thread(target=call, name=f"aggregator {self._name}", daemon=True)
        thread.start()
        thread.join(self._seconds)
        where = f"aggregator {self._name!r}"
        if thread.is_alive():
            limit = f"{self._seconds:g} s"
            raise PluginError(f"{where}: it did not fold {block.size} numbers in {limit}")
        if raised:
            raise PluginError(f"{where}: {error_message(raised[0])}") from raised[0]
        total[:] = work
