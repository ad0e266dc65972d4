"""Timers: one time for each key. Pure."""

import heapq
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

_SLACK = 64
"""Outdated entries, beyond the number of valid ones, before the heap is rebuilt."""

K = TypeVar("K", bound=Hashable)


class Timers(Generic[K]):
    """A heap of (time, key), in which a key set again replaces its earlier entry."""

    def __init__(self) -> None:
        self._valid: dict[K, int] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._valid)

    def set(self, key: K, at: float) -> None:
        """Set the time of a key."""
        self._count += 1  # orders equal times, as keys need not be comparable
        self._valid[key] = self._count
        heapq.heappush(self._heap, (at, self._count, key))
        if len(self._heap) > 2 * len(self._valid) + _SLACK:
            self._heap = [entry for entry in self._heap if self._is_valid(entry)]
            heapq.heapify(self._heap)

    def cancel(self, key: K) -> None:
        """Remove a key, if it is set."""
        self._valid.pop(key, None)

    def next(self) -> float | None:
        """Return the earliest time; None: no key is set."""
        while self._heap and not self._is_valid(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> Iterator[K]:
        """Remove and yield each key whose time has come, earliest first.

        A key that is cancelled during the iteration is not yielded; a key that is set during it
        waits for the next call.
        """
        last = self._count
        while (at := self.next()) is not None and at <= now and self._heap[0][1] <= last:
            key = heapq.heappop(self._heap)[2]
            del self._valid[key]
            yield key

    def _is_valid(self, entry: tuple[float, int, K]) -> bool:
        return self._valid.get(entry[2]) == entry[1]
