"""Somebody's aggregator, which may raise what it likes, or hang, without ending the collector."""

import threading

from fedbus.errors import PluginError
from fedbus.model.layout import Array
from fedbus.plugins import Aggregator
from fedbus.plugins.discovery import error_message

FOLD_SECONDS = 60.0
"""For one block, which takes ours less than a millisecond."""


class IsolatedAggregator:
    """Folds as a plug-in does, and names it in whatever it raises.

    It works in a thread of its own on a copy of the block: a thread of Python cannot be killed, and
    one that was given up must not write into a total that another round uses by then.
    """

    def __init__(self, name: str, aggregator: Aggregator, seconds: float = FOLD_SECONDS) -> None:
        self._name, self._aggregator, self._seconds = name, aggregator, seconds

    def fold(self, total: Array, block: Array, weight: float, /) -> None:
        """Add one update's block to the total.

        Raises:
            PluginError: the plug-in raised, wanted to end the process, or took too long.
        """
        work, own, raised = total.copy(), block.copy(), list[BaseException]()

        def call() -> None:
            try:
                self._aggregator.fold(work, own, weight)
            except BaseException as error:  # noqa: BLE001 - in this thread all of it is the plug-in's
                raised.append(error)

        thread = threading.Thread(target=call, name=f"aggregator {self._name}", daemon=True)
        thread.start()
        thread.join(self._seconds)
        if thread.is_alive():
            why = f"it did not fold {block.size} numbers in {self._seconds:g} s"
            raise PluginError(f"aggregator {self._name!r}: {why}")
        if raised:
            raise PluginError(f"aggregator {self._name!r}: {error_message(raised[0])}") from raised[
                0
            ]
        total[:] = work
