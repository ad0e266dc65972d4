"""Times to wake at, one per key. Pure."""

import heapq
from collections.abc import Hashable, Iterator


class Timers:
    """A heap in which a key's later time replaces its earlier one."""

    def __init__(self) -> None:
        self._at: dict[Hashable, float] = {}
        self._heap: list[tuple[float, int, Hashable]] = []
        self._count = 0

    def set(self, key: Hashable, at: float) -> None:
        """Wake for this key at this time only."""
        self._at[key] = at
        self._count += 1  # keys need not compare with each other
        heapq.heappush(self._heap, (at, self._count, key))

    def cancel(self, key: Hashable) -> None:
        """Do not wake for this key."""
        self._at.pop(key, None)

    def next(self) -> float | None:
        """When to wake next; None: never."""
        while self._heap and self._at.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> Iterator[Hashable]:
        """Take out each key whose time has come, earliest first."""
        while (at := self.next()) is not None and at <= now:
            key = heapq.heappop(self._heap)[2]
            del self._at[key]
            yield key
