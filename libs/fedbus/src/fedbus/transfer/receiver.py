"""One blob on its way here: what is missing, what is wanted, what is lost. Pure.

On a lane the receiver wants chunks by serial. A wanted chunk counts as lost when a later serial arrived
(a broker keeps the order of one sender), or after max(2 s, 4 x the smoothed want-to-arrival time),
doubling. The window starts at 1, grows by 1 per arrival while want-to-arrival stays below 1.5 s, shrinks
above, and is at most 8. (A fixed 2 s timer never finished at 1 Mbit/s and sent 158 chunks for 12.)
"""

from collections import OrderedDict
from dataclasses import dataclass

from fedbus.actions import Key, Sink
from fedbus.transfer.chunk import Chunk
from fedbus.wire.values import CHUNK, Reference

WINDOW = 8
FAST_SECONDS = 1.5
LOST_SECONDS = 2.0
LONGEST_SECONDS = 30.0
SILENT_SECONDS = 60.0
"""No chunk for so long: the source is gone."""


@dataclass(slots=True)
class _Wanted:
    index: int
    at: float


class Receiver:
    """The state of one arriving blob.

    Attributes:
        following: True while it listens to its source's group instead of wanting.
        upto: how far the group's stream has passed, in chunks.
    """

    def __init__(self, key: Key, reference: Reference, sink: Sink, members: int, now: float) -> None:
        self.key = key
        self.reference = reference
        self.sink = sink
        self.members = members
        self.following = members > 0
        self.upto = 0
        self._followed_since = now
        self._asking_since: float | None = None
        self._missing = OrderedDict.fromkeys(range(reference.manifest.count))
        self._unwanted = self._missing.copy()
        self._wanted: OrderedDict[int, _Wanted] = OrderedDict()
        self.serials: dict[int, int] = {}
        self._window = 1
        self._smoothed = 0.0
        self._patience = LOST_SECONDS

    @property
    def complete(self) -> bool:
        """Every chunk has been written to the sink."""
        return not self._missing

    @property
    def outstanding(self) -> int:
        """Chunks wanted and not yet arrived."""
        return len(self._wanted)

    @property
    def appetite(self) -> int:
        """How many more chunks it would want now."""
        if self.following:
            return 0
        return max(0, min(self._window - len(self._wanted), len(self._unwanted)))

    def want(self, serial: int, count: int, now: float) -> tuple[int, ...]:
        """Take the next `count` chunks to want, under serials from `serial` on."""
        if self._asking_since is None:
            self._asking_since = now
        indices = tuple(self._unwanted.popitem(last=False)[0] for _ in range(count))
        for i, index in enumerate(indices):
            self._wanted[serial + i] = _Wanted(index, now)
            self.serials[serial + i] = index
        return indices

    def take(self, chunk: Chunk, now: float) -> bool:
        """Write a chunk that came on the lane or in the group; False: it is not this blob's.

        A chunk that was counted as lost and comes late is as good as its repetition.
        """
        size = self.reference.manifest.size
        count = self.reference.manifest.count
        if chunk.index >= count or len(chunk.data) != min(CHUNK, size - chunk.index * CHUNK):
            return False
        if chunk.serial and self.serials.get(chunk.serial) != chunk.index:
            return False
        if chunk.index in self._missing:
            del self._missing[chunk.index]
            self._unwanted.pop(chunk.index, None)
            self.sink.write(chunk.index * CHUNK, chunk.data)
            self._followed_since = now
        if chunk.serial:
            self._arrived(chunk.serial, now)
            self._asking_since = now if self._wanted else None
        else:
            self.upto = max(self.upto, chunk.index + 1)
        return True

    def to_lane(self) -> None:
        """Leave the group: want what is missing."""
        self.following = False

    def reconnected(self) -> None:
        """Whatever was on its way is lost, and the group has gone on."""
        self.to_lane()
        self._lose(list(self._wanted))
        self._asking_since = None

    def look_at(self) -> float | None:
        """When to look for lost chunks next; None while nothing is on its way."""
        if self.following:
            return self._followed_since + LOST_SECONDS
        if not self._wanted or self._asking_since is None:
            return None
        oldest = next(iter(self._wanted.values()))
        return min(oldest.at + self._patience, self._asking_since + SILENT_SECONDS)

    def forsaken(self, now: float) -> bool:
        """Tell whether the group's stream has passed this member by."""
        return self.following and now >= self._followed_since + LOST_SECONDS

    def silent(self, now: float) -> bool:
        """Tell whether the source must be taken for gone."""
        return self._asking_since is not None and now >= self._asking_since + SILENT_SECONDS

    def expire(self, now: float) -> None:
        """Count as lost what is overdue."""
        overdue = [s for s, wanted in self._wanted.items() if now >= wanted.at + self._patience]
        if overdue:
            self._lose(overdue)
            self._window = 1
            self._patience = min(self._patience * 2, LONGEST_SECONDS)

    def _arrived(self, serial: int, now: float) -> None:
        wanted = self._wanted.pop(serial, None)
        if wanted is None:
            return
        took = now - wanted.at
        self._smoothed = took if not self._smoothed else 0.875 * self._smoothed + 0.125 * took
        self._patience = max(LOST_SECONDS, 4 * self._smoothed)
        self._window = min(self._window + 1, WINDOW) if took < FAST_SECONDS else max(1, self._window - 1)
        # One sender's chunks keep their order, so what was wanted earlier is not coming.
        self._lose([earlier for earlier in self._wanted if earlier < serial])

    def _lose(self, serials: list[int]) -> None:
        for serial in serials:
            index = self._wanted.pop(serial).index
            if index in self._missing:
                self._unwanted[index] = None
                self._unwanted.move_to_end(index, last=False)
