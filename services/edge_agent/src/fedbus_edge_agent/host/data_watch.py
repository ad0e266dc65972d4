"""Watch over an agent's data: changed data are loaded again and announced. Pure."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from fedbus.core.actions import Action, Introduce, Note, Run, WakeAt
from fedbus_edge_agent.keys import DataCheck, DataReload

DATA_CHECK_SECONDS = 5.0
"""Time between two checks of the data."""


class WatchedData(Protocol):
    """Data that may change while an agent runs."""

    @property
    def loads(self) -> int:
        """Number of times that changed data were loaded, by a check or by a task."""

    @property
    def trouble(self) -> str:
        """Why the present data cannot be used; "" if they can."""

    @property
    def notes(self) -> Sequence[str]:
        """What the loader left out or assumed."""

    def has_settled_change(self) -> bool:
        """Return whether there are new data to load."""

    def reload(self) -> None:
        """Load the new data, or set `trouble`."""


class DataWatch:
    """Checks the data every few seconds; without `data` it does nothing."""

    def __init__(self, data: WatchedData | None) -> None:
        self._data = data
        self._noted: Sequence[str] = ()
        self._announced_loads = 0

    @property
    def trouble(self) -> str:
        """Why no task can be done with the present data; "" if tasks can be done."""
        trouble = self._data.trouble if self._data is not None else ""
        return f"the data changed and cannot be loaded: {trouble}" if trouble else ""

    @property
    def unannounced(self) -> bool:
        """Whether a task has loaded new data before a check found them."""
        return self._data is not None and self._data.loads != self._announced_loads

    def begin(self, now: float) -> Iterator[Action]:
        """Schedule the next check; log what the loader left out, if that is new."""
        if self._data is not None:
            if self._data.notes and self._data.notes != self._noted:
                yield Note("data_notes", {"notes": "; ".join(self._data.notes)})
            self._noted = self._data.notes
            yield WakeAt(DataCheck(), now + DATA_CHECK_SECONDS)

    def check(self, now: float) -> Iterator[Action]:
        """Load new data, announce those that a task has loaded, or schedule the next check."""
        if self._data is not None and self._data.has_settled_change():
            yield Note("data_changed", {})
            yield Run(DataReload(), self._data.reload)  # after the running task
        elif self.unannounced:
            yield from self.announce(now)
        else:
            yield from self.begin(now)

    def announce(self, now: float) -> Iterator[Action]:
        """Log that data were loaded, publish the agent's state, and schedule the next check."""
        self._announced_loads = self._data.loads if self._data is not None else 0
        yield Note("data_loaded", {"trouble": self.trouble})
        yield Introduce()
        yield from self.begin(now)
