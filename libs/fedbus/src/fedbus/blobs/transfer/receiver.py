"""One blob on its way here: what is missing, what is wanted, what is lost. Pure.

On a lane the receiver wants chunks by serial. A wanted chunk counts as lost when a later want's
chunk arrived (a broker keeps the order of one sender), or when nothing at all arrived for max(2 s,
4 x the smoothed want-to-arrival time), doubling. The window starts at 1, or where the last blob
from that source left it; it grows by 1 per arrival while want-to-arrival stays below 1.5 s, shrinks
above, and is at most 8. (A fixed 2 s timer never finished at 1 Mbit/s and sent 158 chunks for 12.)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, takewhile

from fedbus.blobs.transfer.chunk import Chunk
from fedbus.core.blob_io import BlobSink
from fedbus.core.keys import Key
from fedbus.wire.blobs import CHUNK_BYTES, BlobLocation

WINDOW = 8
FAST_SECONDS = 1.5
LOST_SECONDS = 2.0
FIRST_SECONDS = 4.0
"""Patience before anything was measured: at 1 Mbit/s the first chunk takes 2.1 s."""
LONGEST_PATIENCE_SECONDS = 30.0
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

    def __init__(  # noqa: PLR0913 - one argument for each thing a receiver is given
        self,
        key: Key,
        location: BlobLocation,
        sink: BlobSink,
        members: int,
        now: float,
        *,
        window: int = 1,
    ) -> None:
        self.key = key
        self.location = location
        self.sink = sink
        self.following = members > 0
        self.upto = 0
        indices = range(location.blob_ref.count)
        self._missing = set(indices)
        # A stack. Who has followed a group wants from the blob's end: what the group sent before
        # may still be on a slow link, in order from the beginning, and need not come twice.
        self._unwanted = dict.fromkeys(indices if self.following else reversed(indices))
        self._wanted: dict[int, _Wanted] = {}
        self._late: dict[int, _Wanted] = {}  # counted as lost; should they come, they are welcome
        self._window = window
        self._smoothed = 0.0
        self._patience = FIRST_SECONDS
        self._since = now  # the last chunk; before the first, the first want
        self._waited = 0.0  # in vain, while nothing is wanted

    @property
    def complete(self) -> bool:
        """Every chunk has been written to the sink."""
        return not self._missing

    @property
    def window(self) -> int:
        """How many chunks may be on their way at once, as this source's link has shown."""
        return self._window

    @property
    def outstanding(self) -> int:
        """Chunks wanted and not yet arrived."""
        return len(self._wanted)

    @property
    def appetite(self) -> int:
        """How many more chunks it would want now: by the half window, which saves messages."""
        free = self._window - len(self._wanted)
        if self.following or (self._wanted and free < self._window // 2):
            return 0
        return max(0, min(free, len(self._unwanted)))

    @property
    def serials(self) -> Iterator[int]:
        """Serials whose chunks may still come."""
        return chain(self._wanted, self._late)

    def want(self, serial: int, count: int, now: float) -> tuple[int, ...]:
        """Take the next `count` chunks to want, under serials from `serial` on."""
        if not self._wanted:
            self._since = now - self._waited
        indices = tuple(self._unwanted.popitem()[0] for _ in range(count))
        for i, index in enumerate(indices):
            self._wanted[serial + i] = _Wanted(index, now)
        return indices

    def take(self, chunk: Chunk, now: float) -> bool:
        """Write a chunk that was wanted by serial; False: it is not what was wanted.

        A chunk that was counted as lost and comes late is as good as its repetition.
        """
        wanted = self._wanted.get(chunk.serial) or self._late.get(chunk.serial)
        if wanted is None or wanted.index != chunk.index or not self._fits(chunk):
            return False
        self._write(chunk)
        self._arrived(chunk.serial, now - wanted.at)
        self._heard(now)
        return True

    def follow(self, chunk: Chunk, now: float) -> bool:
        """Write a chunk of the group's stream, followed or not; False: it is not this blob's."""
        if not self._fits(chunk):
            return False
        self._write(chunk)
        self.upto = max(self.upto, chunk.index + 1)
        if self.following:
            self._measure(now - self._since)
        self._heard(now)
        return True

    def to_lane(self) -> None:
        """Leave the group: want what is missing."""
        self.following = False

    def reconnected(self) -> None:
        """Whatever was on its way is lost, and the group has gone on."""
        self.to_lane()
        self._lose(list(self._wanted))
        self._waited = 0.0

    def look_at(self) -> float | None:
        """When to look for lost chunks next; None while nothing is on its way."""
        if self.following:
            return self._since + self._patience
        if not self._wanted:
            return None
        oldest = next(iter(self._wanted.values()))
        return min(self._overdue_at(oldest), self._since + SILENT_SECONDS)

    def forsaken(self, now: float) -> bool:
        """Tell whether the group's stream has passed this member by."""
        return self.following and now >= self._since + self._patience

    def silent(self, now: float) -> bool:
        """Tell whether the source must be taken for gone."""
        return bool(self._wanted) and now >= self._since + SILENT_SECONDS

    def expire(self, now: float) -> None:
        """Count as lost what is overdue."""
        overdue = [s for s, wanted in self._wanted.items() if now >= self._overdue_at(wanted)]
        if overdue:
            self._lose(overdue)
            self._window = 1
            self._patience = min(self._patience * 2, LONGEST_PATIENCE_SECONDS)
            if not self._wanted:
                self._waited = now - self._since

    def _overdue_at(self, wanted: _Wanted) -> float:
        # Any chunk of this blob shows that the link lives and that the rest may be queued behind
        # it.
        return max(wanted.at, self._since) + self._patience

    def _fits(self, chunk: Chunk) -> bool:
        blob_ref = self.location.blob_ref
        left = blob_ref.size - chunk.index * CHUNK_BYTES
        return chunk.index < blob_ref.count and len(chunk.data) == min(CHUNK_BYTES, left)

    def _write(self, chunk: Chunk) -> None:
        if chunk.index in self._missing:
            self._missing.remove(chunk.index)
            self._unwanted.pop(chunk.index, None)
            self.sink.write(chunk.index * CHUNK_BYTES, chunk.data)

    def _heard(self, now: float) -> None:
        self._since = now
        self._waited = 0.0

    def _arrived(self, serial: int, took: float) -> None:
        if self._late.pop(serial, None) is None:
            # One sender's chunks keep their order, so what was wanted earlier is not coming.
            self._lose(list(takewhile(lambda earlier: earlier != serial, self._wanted)))
            del self._wanted[serial]
        self._window = (
            min(self._window + 1, WINDOW) if took < FAST_SECONDS else max(1, self._window - 1)
        )
        self._measure(took)

    def _measure(self, took: float) -> None:
        self._smoothed = took if not self._smoothed else 0.875 * self._smoothed + 0.125 * took
        self._patience = min(max(LOST_SECONDS, 4 * self._smoothed), LONGEST_PATIENCE_SECONDS)

    def _lose(self, serials: list[int]) -> None:
        for serial in reversed(serials):
            wanted = self._late[serial] = self._wanted.pop(serial)
            if wanted.index in self._missing:
                self._unwanted[wanted.index] = None
