"""Uploads: blobs served by this node, in answer to chunk requests and by multicast. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from fedbus.blobs.transfer.multicast import Multicast
from fedbus.blobs.transfer.receiver import WINDOW
from fedbus.core.actions import Send
from fedbus.core.blob_io import BlobFinder, BlobSource
from fedbus.core.timers import Timers
from fedbus.wire.blobs import CHUNK_BYTES, chunks_in
from fedbus.wire.messages import BlobNotFound, ChunkRequest, Confirm, Join, Leave, UseUnicast

SLOW_SECONDS = 120.0
"""Time for which a node that held a multicast back uses unicast."""

MAX_OPENING = 256
"""Blobs that are being opened at the same time; requests for further ones are dropped."""
MAX_WAITING = 256
"""Requests that wait for one of them."""


@dataclass(frozen=True, slots=True)
class SendChunk:
    """Publish one chunk to a node, or, if `to` is None, to the blob's multicast.

    The shell reads the data just before it publishes the chunk, so a queue of these holds no data.
    """

    to: str | None
    digest: str
    source: BlobSource
    serial: int
    index: int


@dataclass(frozen=True, slots=True)
class OpenStored:
    """Open a stored blob in a thread, and call `opened` or `not_opened` with the result."""

    digest: str


UploadStep: TypeAlias = Send | SendChunk | OpenStored


class Uploads:
    """All uploads of this node.

    Args:
        in_flight: Bytes that a multicast may have in transit.
        stored: Finds blobs that this node serves without `serve`.
    """

    def __init__(self, in_flight: int, stored: BlobFinder | None = None) -> None:
        self._in_flight = in_flight
        self._stored = stored
        self._opening: dict[str, list[tuple[str, ChunkRequest | Join]]] = {}
        self._served: dict[str, tuple[BlobSource, frozenset[str] | None]] = {}
        self._multicasts: dict[str, tuple[Multicast, BlobSource]] = {}
        self._slow: dict[str, float] = {}
        self._absent = 0  # members that the last multicast missed: the next does not wait for them
        self._timers = Timers[str]()

    def serve(self, digest: str, source: BlobSource, readers: frozenset[str] | None = None) -> None:
        """Serve this blob to these nodes, for which alone it exists; None: to any."""
        self._served[digest] = source, readers

    def unserve(self, digest: str) -> None:
        """Stop serving this blob, unless it is stored."""
        self._served.pop(digest, None)
        self._multicasts.pop(digest, None)
        self._timers.cancel(digest)

    def request(self, sender: str, message: ChunkRequest, now: float) -> Iterator[UploadStep]:
        """Send the requested chunks; a node that requests chunks leaves the multicast."""
        source = self._find(sender, message.digest)
        if source is None:
            yield from self._open(sender, message)
            return
        yield from self._send_chunks(sender, message, source)
        yield from self._without(sender, message.digest, now)

    def join(self, sender: str, message: Join, now: float) -> Iterator[UploadStep]:
        """Add a node to the blob's multicast, or refer it to unicast."""
        source = self._find(sender, message.digest)
        if source is None:
            yield from self._open(sender, message)
            return
        yield from self._join(sender, message, source, now)

    def opened(self, digest: str, source: BlobSource | None, now: float) -> Iterator[UploadStep]:
        """Answer the requests that waited for a stored blob; None: it does not exist."""
        waiting = self._opening.pop(digest, [])
        if source is None:
            for sender in dict.fromkeys(sender for sender, _ in waiting):
                yield Send(sender, BlobNotFound(digest=digest))
            return
        for sender, message in waiting:
            if isinstance(message, Join):
                yield from self._join(sender, message, source, now)
            else:
                yield from self._send_chunks(sender, message, source)
                yield from self._without(sender, digest, now)

    def not_opened(self, digest: str) -> None:
        """Forget the requests that waited for a blob that cannot be read now: they come again."""
        self._opening.pop(digest, None)

    def confirm(self, sender: str, message: Confirm, now: float) -> Iterator[UploadStep]:
        """Continue the multicast as far as its slowest member allows."""
        if message.digest in self._multicasts:
            self._multicasts[message.digest][0].confirm(sender, message.upto)
            yield from self._advance(message.digest, now)

    def leave(self, sender: str, message: Leave, now: float) -> Iterator[UploadStep]:
        """Continue the multicast without a member."""
        yield from self._without(sender, message.digest, now)

    def reconnected(self) -> Iterator[UploadStep]:
        """End all multicasts: their chunks may be lost, so their members use unicast."""
        self._opening.clear()
        multicasts, self._multicasts = self._multicasts, {}
        for digest, (multicast, _) in multicasts.items():
            self._timers.cancel(digest)
            for member in multicast.members:
                yield Send(member, UseUnicast(digest=digest))

    def due(self, now: float) -> Iterator[UploadStep]:
        """Start multicasts that have waited long enough; move slow members to unicast."""
        for digest in self._timers.due(now):
            yield from self._advance(str(digest), now)

    def next(self) -> float | None:
        """Return when to call `due`; None: not yet known."""
        return self._timers.next()

    def _send_chunks(
        self, sender: str, message: ChunkRequest, source: BlobSource
    ) -> Iterator[UploadStep]:
        count = chunks_in(source.size)
        for i, index in enumerate(message.indices):
            if index < count:
                yield SendChunk(sender, message.digest, source, message.serial + i, index)

    def _join(
        self, sender: str, message: Join, source: BlobSource, now: float
    ) -> Iterator[UploadStep]:
        multicast = self._multicast(message, source, now)
        # A second multicast would burden members to which the first is still in transit.
        if multicast.streamed or self._slow.get(sender, now) > now:
            multicast.count_unicast(sender, message.members, now)
            yield Send(sender, UseUnicast(digest=message.digest))
        else:
            multicast.join(sender, message.members, now)
        yield from self._advance(message.digest, now)

    def _find(self, sender: str, digest: str) -> BlobSource | None:
        if digest in self._served:
            source, readers = self._served[digest]
            return source if readers is None or sender in readers else None
        return self._stored.opened_blob(digest) if self._stored else None

    def _open(self, sender: str, message: ChunkRequest | Join) -> Iterator[UploadStep]:
        """Open a stored blob; until then its requests wait."""
        digest = message.digest
        if self._stored is None or digest in self._served:  # for other nodes
            yield Send(sender, BlobNotFound(digest=digest))
        elif (waiting := self._opening.get(digest)) is not None:
            if len(waiting) < MAX_WAITING:
                waiting.append((sender, message))
        elif len(self._opening) < MAX_OPENING:
            self._opening[digest] = [(sender, message)]
            yield OpenStored(digest)

    def _multicast(self, message: Join, source: BlobSource, now: float) -> Multicast:
        if message.digest not in self._multicasts:
            chunk = max(1, min(CHUNK_BYTES, source.size))
            window = min(WINDOW, self._in_flight // (chunk * max(1, message.members)))
            multicast = Multicast(chunks_in(source.size), window, now, self._absent)
            self._multicasts[message.digest] = multicast, source
        return self._multicasts[message.digest][0]

    def _without(self, sender: str, digest: str, now: float) -> Iterator[UploadStep]:
        if digest in self._multicasts:
            self._multicasts[digest][0].leave(sender)
            yield from self._advance(digest, now)

    def _advance(self, digest: str, now: float) -> Iterator[UploadStep]:
        multicast, source = self._multicasts[digest]
        if slow := multicast.remove_slow(now):
            self._slow = {member: until for member, until in self._slow.items() if until > now}
        for member in slow:
            self._slow[member] = now + SLOW_SECONDS
            yield Send(member, UseUnicast(digest=digest))
        for serial, index in multicast.advance(now):
            yield SendChunk(None, digest, source, serial, index)
        if multicast.absent is not None:
            self._absent = multicast.absent
        at = multicast.wake_at()
        if at is None:  # it is over
            del self._multicasts[digest]
            self._timers.cancel(digest)
        else:
            self._timers.set(digest, at)
