"""Somebody's aggregator, which may raise whatever it likes without ending the collector."""

from fedbus.errors import PluginError
from fedbus.layout import Array
from fedbus.plugins import Folds
from fedbus.plugins.finding import told


class Contained:
    """Folds as a plug-in does, and names it in whatever it raises."""

    def __init__(self, name: str, aggregator: Folds) -> None:
        self._name, self._aggregator = name, aggregator

    def fold(self, total: Array, block: Array, weight: float, /) -> None:
        """Add one update's block to the total.

        Raises:
            PluginError: the plug-in raised, or wanted to end the process.
        """
        try:
            self._aggregator.fold(total, block, weight)
        except BaseException as error:  # in a worker thread all of it is the plug-in's
            raise PluginError(f"aggregator {self._name!r}: {told(error)}") from error
