"""State of one download: which chunks are missing, requested or lost. Pure.

In a unicast the receiver requests chunks by serial. A requested chunk counts as lost when a chunk
of a later request has arrived (a broker keeps the order of one sender), or when no chunk has
arrived for max(2 s, 4 x the smoothed round-trip time), doubling. The window, the number of chunks
requested at once, starts at 1 or where the last blob from that source left it; it grows by 1 with
each chunk that arrives within 1.5 s of its request, shrinks with each later one, and is at most 8.
(With a fixed timer of 2 s, a link of 1 Mbit/s never finished and sent 158 chunks for 12.)
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
"""Timeout before any round trip was measured: at 1 Mbit/s the first chunk takes 2.1 s."""
LONGEST_TIMEOUT_SECONDS = 30.0
SILENT_SECONDS = 60.0
"""Without a chunk for this long, the source counts as gone."""


@dataclass(slots=True)
class _RequestedChunk:
    index: int
    at: float


class Receiver:
    """State of one download.

    Attributes:
        multicast: Whether the blob arrives by multicast; False: chunks are requested.
        upto: Number of chunks that the multicast has passed.
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
        self.multicast = members > 0
        self.upto = 0
        indices = range(location.blob_ref.count)
        self._missing = set(indices)
        # A stack. After a multicast, chunks are requested from the blob's end: on a slow link the
        # first chunks of the multicast may still be queued, in order, and need not be sent twice.
        self._unrequested = dict.fromkeys(indices if self.multicast else reversed(indices))
        self._requested: dict[int, _RequestedChunk] = {}
        self._late: dict[int, _RequestedChunk] = {}  # counted as lost, accepted if they arrive
        self._window = window
        self._smoothed = 0.0
        self._timeout = FIRST_SECONDS
        self._since = now  # the last chunk; before the first chunk, the first request
        self._waited = 0.0  # without a chunk, before requests ended

    @property
    def complete(self) -> bool:
        """Whether every chunk has been written to the sink."""
        return not self._missing

    @property
    def window(self) -> int:
        """Number of chunks that may be requested at once, as measured on the source's link."""
        return self._window

    @property
    def outstanding(self) -> int:
        """Number of chunks requested and not yet arrived."""
        return len(self._requested)

    @property
    def requestable(self) -> int:
        """Number of chunks to request now; 0 until half the window is free, to save messages."""
        free = self._window - len(self._requested)
        if self.multicast or (self._requested and free < self._window // 2):
            return 0
        return max(0, min(free, len(self._unrequested)))

    @property
    def serials(self) -> Iterator[int]:
        """Serials whose chunks may still arrive."""
        return chain(self._requested, self._late)

    def request(self, serial: int, count: int, now: float) -> tuple[int, ...]:
        """Return the indices of the next `count` chunks to request, under serials from `serial`."""
        if not self._requested:
            self._since = now - self._waited
        indices = tuple(self._unrequested.popitem()[0] for _ in range(count))
        for i, index in enumerate(indices):
            self._requested[serial + i] = _RequestedChunk(index, now)
        return indices

    def write_requested(self, chunk: Chunk, now: float) -> bool:
        """Write a chunk that was requested, and return whether it was.

        A chunk that was counted as lost and arrives late is written as well.
        """
        requested = self._requested.get(chunk.serial) or self._late.get(chunk.serial)
        if requested is None or requested.index != chunk.index or not self._fits(chunk):
            return False
        self._write(chunk)
        self._arrived(chunk.serial, now - requested.at)
        self._restart_timeout(now)
        return True

    def write_multicast(self, chunk: Chunk, now: float) -> bool:
        """Write a chunk of a multicast, and return whether it belongs to this blob."""
        if not self._fits(chunk):
            return False
        self._write(chunk)
        self.upto = max(self.upto, chunk.index + 1)
        if self.multicast:
            self._measure(now - self._since)
        self._restart_timeout(now)
        return True

    def use_unicast(self) -> None:
        """Leave the multicast: request the missing chunks."""
        self.multicast = False

    def reconnected(self) -> None:
        """Count all requested chunks as lost, and leave the multicast, which has continued."""
        self.use_unicast()
        self._lose(list(self._requested))
        self._waited = 0.0

    def check_at(self) -> float | None:
        """Return the time to look for lost chunks; None: no chunk is expected."""
        if self.multicast:
            return self._since + self._timeout
        if not self._requested:
            return None
        oldest = next(iter(self._requested.values()))
        return min(self._overdue_at(oldest), self._since + SILENT_SECONDS)

    def missed_stream(self, now: float) -> bool:
        """Return whether the multicast must be considered over for this member."""
        return self.multicast and now >= self._since + self._timeout

    def source_silent(self, now: float) -> bool:
        """Return whether the source must be considered gone."""
        return bool(self._requested) and now >= self._since + SILENT_SECONDS

    def expire(self, now: float) -> None:
        """Count overdue chunks as lost."""
        overdue = [s for s, chunk in self._requested.items() if now >= self._overdue_at(chunk)]
        if overdue:
            self._lose(overdue)
            self._window = 1
            self._timeout = min(self._timeout * 2, LONGEST_TIMEOUT_SECONDS)
            if not self._requested:
                self._waited = now - self._since

    def _overdue_at(self, requested: _RequestedChunk) -> float:
        # Any chunk of this blob shows that the link works, and the rest may be queued behind it.
        return max(requested.at, self._since) + self._timeout

    def _fits(self, chunk: Chunk) -> bool:
        blob_ref = self.location.blob_ref
        left = blob_ref.size - chunk.index * CHUNK_BYTES
        return chunk.index < blob_ref.count and len(chunk.data) == min(CHUNK_BYTES, left)

    def _write(self, chunk: Chunk) -> None:
        if chunk.index in self._missing:
            self._missing.remove(chunk.index)
            self._unrequested.pop(chunk.index, None)
            self.sink.write(chunk.index * CHUNK_BYTES, chunk.data)

    def _restart_timeout(self, now: float) -> None:
        self._since = now
        self._waited = 0.0

    def _arrived(self, serial: int, took: float) -> None:
        if self._late.pop(serial, None) is None:
            # One sender's chunks keep their order, so those requested earlier will not arrive.
            self._lose(list(takewhile(lambda earlier: earlier != serial, self._requested)))
            del self._requested[serial]
        self._window = (
            min(self._window + 1, WINDOW) if took < FAST_SECONDS else max(1, self._window - 1)
        )
        self._measure(took)

    def _measure(self, took: float) -> None:
        self._smoothed = took if not self._smoothed else 0.875 * self._smoothed + 0.125 * took
        self._timeout = min(max(LOST_SECONDS, 4 * self._smoothed), LONGEST_TIMEOUT_SECONDS)

    def _lose(self, serials: list[int]) -> None:
        for serial in reversed(serials):
            lost = self._late[serial] = self._requested.pop(serial)
            if lost.index in self._missing:
                self._unrequested[lost.index] = None
