"""Times to wake at, one per key. Pure."""

import heapq
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

_SLACK = 64
"""Entries that no longer count, beyond as many as do, before the heap is swept."""

K = TypeVar("K", bound=Hashable)


class Timers(Generic[K]):
    """A heap in which a key's later time replaces its earlier one."""

    def __init__(self) -> None:
        self._valid: dict[K, int] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._valid)

    def set(self, key: K, at: float) -> None:
        """Wake for this key at this time only."""
        self._count += 1  # keys need not compare with each other
        self._valid[key] = self._count
        heapq.heappush(self._heap, (at, self._count, key))
        if len(self._heap) > 2 * len(self._valid) + _SLACK:
            self._heap = [entry for entry in self._heap if self._holds(entry)]
            heapq.heapify(self._heap)

    def cancel(self, key: K) -> None:
        """Do not wake for this key."""
        self._valid.pop(key, None)

    def next(self) -> float | None:
        """When to wake next; None: never."""
        while self._heap and not self._holds(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> Iterator[K]:
        """Take out each key whose time has come, earliest first.

        What is cancelled meanwhile does not come any more; what is set meanwhile waits for the next
        call.
        """
        last = self._count
        while (at := self.next()) is not None and at <= now and self._heap[0][1] <= last:
            key = heapq.heappop(self._heap)[2]
            del self._valid[key]
            yield key

    def _holds(self, entry: tuple[float, int, K]) -> bool:
        return self._valid.get(entry[2]) == entry[1]
