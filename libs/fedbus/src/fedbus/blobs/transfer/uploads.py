"""All blobs served from here: wants answered on lanes, joins gathered into groups. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from fedbus.blobs.transfer.multicast import Group
from fedbus.blobs.transfer.receiver import WINDOW
from fedbus.core.actions import Send
from fedbus.core.blob_io import BlobSource
from fedbus.core.timers import Timers
from fedbus.wire.blobs import CHUNK_BYTES, chunks_in
from fedbus.wire.messages import BlobNotFound, ChunkRequest, Confirm, Join, Leave, UseUnicast

SLOW_SECONDS = 120.0
"""Who held a group back takes lanes for so long."""

FindBlob: TypeAlias = Callable[[str], BlobSource | None]
"""Finds a blob by digest among those a service always serves."""


@dataclass(frozen=True, slots=True)
class SendChunk:
    """Publish one chunk: to a node's lane, or (`to` is None) to the blob's group.

    It is read and framed only when its turn comes, so a queue of these holds no data.
    """

    to: str | None
    digest: str
    source: BlobSource
    serial: int
    index: int


Answer: TypeAlias = Send | SendChunk


class Uploads:
    """What this node serves, and to whom."""

    def __init__(self, in_flight: int, find_blob: FindBlob | None = None) -> None:
        self._in_flight = in_flight
        self._find_blob = find_blob
        self._served: dict[str, BlobSource] = {}
        self._groups: dict[str, tuple[Group, BlobSource]] = {}
        self._slow: dict[str, float] = {}
        self._absent = 0  # of the last group that told: so many more will not come in time again
        self._timers = Timers[str]()

    def serve(self, digest: str, source: BlobSource) -> None:
        """Let others fetch this blob."""
        self._served[digest] = source

    def unserve(self, digest: str) -> None:
        """Answer `BlobNotFound` from now on, unless the library holds it."""
        self._served.pop(digest, None)
        self._groups.pop(digest, None)
        self._timers.cancel(digest)

    def want(self, sender: str, message: ChunkRequest, now: float) -> Iterator[Answer]:
        """Answer a want with the chunks it names. Who wants no longer follows the group."""
        source = self._find(message.digest)
        if source is None:
            yield Send(sender, BlobNotFound(digest=message.digest))
            return
        count = chunks_in(source.size)
        for i, index in enumerate(message.indices):
            if index < count:
                yield SendChunk(sender, message.digest, source, message.serial + i, index)
        yield from self._without(sender, message.digest, now)

    def join(self, sender: str, message: Join, now: float) -> Iterator[Answer]:
        """Take a node into the blob's group, or point it to a lane."""
        source = self._find(message.digest)
        if source is None:
            yield Send(sender, BlobNotFound(digest=message.digest))
            return
        group = self._group(message, source, now)
        # To stream it again would burden members to whom it is still on its way.
        if group.streamed or self._slow.get(sender, now) > now:
            group.pass_over(sender, message.members, now)
            yield Send(sender, UseUnicast(digest=message.digest))
        else:
            group.join(sender, message.members, now)
        yield from self._advance(message.digest, now)

    def confirm(self, sender: str, message: Confirm, now: float) -> Iterator[Answer]:
        """Let the group go on as far as its slowest member allows."""
        if message.digest in self._groups:
            self._groups[message.digest][0].confirm(sender, message.upto)
            yield from self._advance(message.digest, now)

    def leave(self, sender: str, message: Leave, now: float) -> Iterator[Answer]:
        """Go on without a member."""
        yield from self._without(sender, message.digest, now)

    def reconnected(self) -> Iterator[Answer]:
        """End the groups: what they sent may be lost, so their members take lanes."""
        groups, self._groups = self._groups, {}
        for digest, (group, _) in groups.items():
            self._timers.cancel(digest)
            for member in group.members:
                yield Send(member, UseUnicast(digest=digest))

    def due(self, now: float) -> Iterator[Answer]:
        """Start groups that have waited enough; send laggards to lanes."""
        for digest in self._timers.due(now):
            yield from self._advance(str(digest), now)

    def next(self) -> float | None:
        """When `due` has something next."""
        return self._timers.next()

    def _find(self, digest: str) -> BlobSource | None:
        if digest in self._served:
            return self._served[digest]
        return self._find_blob(digest) if self._find_blob else None

    def _group(self, message: Join, source: BlobSource, now: float) -> Group:
        if message.digest not in self._groups:
            chunk = max(1, min(CHUNK_BYTES, source.size))
            window = min(WINDOW, self._in_flight // (chunk * max(1, message.members)))
            group = Group(chunks_in(source.size), window, now, self._absent)
            self._groups[message.digest] = group, source
        return self._groups[message.digest][0]

    def _without(self, sender: str, digest: str, now: float) -> Iterator[Answer]:
        if digest in self._groups:
            self._groups[digest][0].leave(sender)
            yield from self._advance(digest, now)

    def _advance(self, digest: str, now: float) -> Iterator[Answer]:
        group, source = self._groups[digest]
        if slow := group.laggards(now):
            self._slow = {member: until for member, until in self._slow.items() if until > now}
        for member in slow:
            self._slow[member] = now + SLOW_SECONDS
            yield Send(member, UseUnicast(digest=digest))
        for serial, index in group.advance(now):
            yield SendChunk(None, digest, source, serial, index)
        if group.absent is not None:
            self._absent = group.absent
        at = group.wake_at()
        if at is None:  # it is over
            del self._groups[digest]
            self._timers.cancel(digest)
        else:
            self._timers.set(digest, at)
