"""The watch over an agent's data: what changes is loaded anew, and announced. Pure."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from fedbus.core.actions import Action, Introduce, Note, Run, WakeAt
from fedbus_edge_agent.keys import DataCheck, DataReload

DATA_CHECK_SECONDS = 5.0
"""Between two looks at the data; what is being written is waited for."""


class WatchedData(Protocol):
    """Data that may change while an agent lives."""

    @property
    def loads(self) -> int:
        """How often data were loaded anew, or could not be, by a look or by a task."""

    @property
    def trouble(self) -> str:
        """Why what is there now cannot be used; "" is no trouble."""

    @property
    def notes(self) -> Sequence[str]:
        """What the loader left out or assumed."""

    def look(self) -> bool:
        """Say whether there is something new to load."""

    def reload(self) -> None:
        """Load it, or have a trouble."""


class DataWatch:
    """Looks at the data every few seconds; at nothing where they cannot change."""

    def __init__(self, data: WatchedData | None) -> None:
        self._data = data
        self._told: Sequence[str] = ()
        self._said = 0  # how many loads were announced

    @property
    def trouble(self) -> str:
        """Why no task can be taken with the data that are there now; "" is no trouble."""
        trouble = self._data.trouble if self._data is not None else ""
        return f"the data changed and cannot be loaded: {trouble}" if trouble else ""

    @property
    def unsaid(self) -> bool:
        """Whether a task has found new data before a look did, so that nobody knows of them."""
        return self._data is not None and self._data.loads != self._said

    def begin(self, now: float) -> Iterator[Action]:
        """Look in a while, if there is anything to look at; log what was left out of the data."""
        if self._data is not None:
            if self._data.notes and self._data.notes != self._told:
                yield Note("data_notes", {"notes": "; ".join(self._data.notes)})
            self._told = self._data.notes
            yield WakeAt(DataCheck(), now + DATA_CHECK_SECONDS)

    def look(self, now: float) -> Iterator[Action]:
        """Look now; load what is new, or look again in a while."""
        if self._data is not None and self._data.look():
            yield Note("data_changed", {})
            yield Run(DataReload(), self._data.reload)  # a task that is worked on ends first
        elif self.unsaid:
            yield from self.reloaded(now)
        else:
            yield from self.begin(now)

    def reloaded(self, now: float) -> Iterator[Action]:
        """Say what has come of loading, for all to hear."""
        self._said = self._data.loads if self._data is not None else 0
        yield Note("data_loaded", {"trouble": self.trouble})
        yield Introduce()
        yield from self.begin(now)
