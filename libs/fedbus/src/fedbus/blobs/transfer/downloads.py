"""All blobs on their way here, under one bound of what may be in flight. Pure.

Whoever was fetched first is wanted first, so that blobs complete one after another and can be
worked on while the next arrive. Only bytes wanted and not yet arrived count against the bound, so a
slow link never holds a place.
"""

from collections.abc import Iterator
from typing import TypeAlias

from fedbus.blobs.transfer.chunk import CONFIRM_SERIAL, Chunk
from fedbus.blobs.transfer.receiver import WINDOW, Receiver
from fedbus.core.actions import Cancel, Fetch, Send
from fedbus.core.events import Fetched, FetchFailed
from fedbus.core.keys import Key
from fedbus.core.timers import Timers
from fedbus.wire.blobs import CHUNK_BYTES
from fedbus.wire.messages import BlobNotFound, ChunkRequest, Confirm, Join, Leave, UseUnicast

MAX_OUTSTANDING = 48
"""Chunks wanted at once. The broker keeps 100 messages for a subscriber and drops the rest unsaid,
and control messages share that queue."""

MAX_SERIAL = 2**32 - 128

MAX_PACES = 4096
"""Sources whose windows are remembered from one blob to the next."""


class Listen:
    """Follow a source's group topic."""

    __slots__ = ("digest", "source")

    def __init__(self, source: str, digest: str) -> None:
        self.source, self.digest = source, digest


class Unlisten(Listen):
    """No longer follow it."""

    __slots__ = ()


Step: TypeAlias = Send | Listen | Unlisten | Fetched | FetchFailed


class Downloads:
    """What this node fetches, and from whom.

    `first_serial` is drawn anew at every start, so that chunks on their way to the process before
    are none that this one wanted.
    """

    def __init__(self, in_flight: int, first_serial: int = 1) -> None:
        self._in_flight = in_flight
        self._receivers: dict[Key, Receiver] = {}
        self._hungry: dict[Key, Receiver] = {}
        self._by_serial: dict[int, Receiver] = {}
        self._outstanding = 0
        self._serial = first_serial
        self._paces: dict[str, int] = {}
        self._timers = Timers[Key]()

    def __len__(self) -> int:
        return len(self._receivers)

    @property
    def outstanding(self) -> int:
        """Chunks wanted and not yet arrived, of all blobs."""
        return self._outstanding

    def fetch(self, action: Fetch, now: float) -> Iterator[Step]:
        """Begin to fetch a blob; the same key begins anew."""
        yield from self.cancel(Cancel(action.key), now)
        receiver = Receiver(
            action.key,
            action.location,
            action.sink,
            action.members,
            now,
            window=self._paces.get(action.location.source, 1),
        )
        self._receivers[action.key] = receiver
        self._hungry[action.key] = receiver
        if receiver.following:
            blob_ref, source = action.location.blob_ref, action.location.source
            yield Listen(source, blob_ref.digest)
            yield Send(source, Join(digest=blob_ref.digest, members=action.members))
        yield from self._want(now)
        self._watch(receiver)

    def cancel(self, action: Cancel, now: float) -> Iterator[Step]:
        """Stop fetching."""
        receiver = self._receivers.get(action.key)
        if receiver is not None:
            if receiver.following:
                digest = receiver.location.blob_ref.digest
                yield Send(receiver.location.source, Leave(digest=digest))
            yield from self._end(receiver, None, now)

    def lane_chunk(self, sender: str, chunk: Chunk, now: float) -> Iterator[Step]:
        """Take a chunk that was wanted by serial."""
        receiver = self._by_serial.get(chunk.serial)
        if receiver is not None and receiver.location.source == sender:
            before = receiver.outstanding
            if receiver.take(chunk, now):
                del self._by_serial[chunk.serial]
                self._outstanding += receiver.outstanding - before
                yield from self._took(receiver, now)

    def group_chunk(self, sender: str, digest: str, chunk: Chunk, now: float) -> Iterator[Step]:
        """Take a chunk that a source published for its group."""
        for receiver in self._from(sender, digest):
            if receiver.follow(chunk, now):
                if receiver.following and chunk.serial == CONFIRM_SERIAL:
                    yield Send(sender, Confirm(digest=digest, upto=receiver.upto))
                yield from self._took(receiver, now)

    def use_unicast(self, sender: str, message: UseUnicast, now: float) -> Iterator[Step]:
        """Go on without the group."""
        for receiver in self._from(sender, message.digest):
            if receiver.following:
                yield from self._unfollow(receiver)
        yield from self._want(now)

    def gone(self, sender: str, message: BlobNotFound, now: float) -> Iterator[Step]:
        """Give up what its source does not hold."""
        for receiver in self._from(sender, message.digest):
            yield from self._end(receiver, f"{sender} does not hold {message.digest[:12]}", now)

    def reconnected(self, now: float) -> Iterator[Step]:
        """ChunkRequest again whatever was on its way."""
        self._paces.clear()  # it may be another link
        for receiver in list(self._receivers.values()):
            if receiver.following:
                yield from self._unfollow(receiver)
            self._outstanding -= receiver.outstanding
            receiver.reconnected()
            self._hungry[receiver.key] = receiver
            self._watch(receiver)
        yield from self._want(now)

    def due(self, now: float) -> Iterator[Step]:
        """ChunkRequest again what was lost; give up on sources that fell silent."""
        for key in self._timers.due(now):
            receiver = self._receivers[key]
            if receiver.forsaken(now):
                yield from self._unfollow(receiver)
            elif receiver.silent(now):
                source = receiver.location.source
                yield from self._end(receiver, f"no chunk from {source} for a minute", now)
                continue
            else:
                before = receiver.outstanding
                receiver.expire(now)
                self._outstanding += receiver.outstanding - before
                self._hungry[receiver.key] = receiver
            self._watch(receiver)
        yield from self._want(now)

    def next(self) -> float | None:
        """When `due` has something next."""
        return self._timers.next()

    def _from(self, sender: str, digest: str) -> Iterator[Receiver]:
        for receiver in list(self._receivers.values()):
            location = receiver.location
            # An end told meanwhile may have led to the end of others.
            if (
                location.source == sender
                and location.blob_ref.digest == digest
                and self._receivers.get(receiver.key) is receiver
            ):
                yield receiver

    def _took(self, receiver: Receiver, now: float) -> Iterator[Step]:
        if receiver.complete:
            self._remember(receiver)
            yield from self._end(receiver, None, now)
            yield Fetched(receiver.key, receiver.sink)
        else:
            if receiver.following and receiver.upto >= receiver.location.blob_ref.count:
                yield from self._unfollow(receiver)  # the stream is over, and it had holes
            if receiver.appetite:
                self._hungry[receiver.key] = receiver
            yield from self._want(now)
            self._watch(receiver)

    def _remember(self, receiver: Receiver) -> None:
        """Let the next blob from this source begin where this one ended: a lane needs no trial."""
        self._paces.pop(receiver.location.source, None)
        self._paces[receiver.location.source] = receiver.window
        if len(self._paces) > MAX_PACES:
            del self._paces[next(iter(self._paces))]

    def _unfollow(self, receiver: Receiver) -> Iterator[Step]:
        receiver.to_lane()
        self._hungry[receiver.key] = receiver
        yield Unlisten(receiver.location.source, receiver.location.blob_ref.digest)

    def _end(self, receiver: Receiver, failure: str | None, now: float) -> Iterator[Step]:
        del self._receivers[receiver.key]
        self._hungry.pop(receiver.key, None)
        self._timers.cancel(receiver.key)
        self._outstanding -= receiver.outstanding
        for serial in receiver.serials:
            self._by_serial.pop(serial, None)
        if receiver.following:
            yield Unlisten(receiver.location.source, receiver.location.blob_ref.digest)
        if failure is not None:
            yield FetchFailed(receiver.key, failure)
        yield from self._want(now)

    def _watch(self, receiver: Receiver) -> None:
        at = receiver.look_at()
        if at is None:
            self._timers.cancel(receiver.key)
        else:
            self._timers.set(receiver.key, at)

    def _room(self, receiver: Receiver) -> int:
        chunk = max(1, min(CHUNK_BYTES, receiver.location.blob_ref.size))
        most = min(MAX_OUTSTANDING, max(1, self._in_flight // chunk))
        return min(receiver.appetite, most - self._outstanding, WINDOW)

    def _want(self, now: float) -> Iterator[Step]:
        for receiver in list(self._hungry.values()):
            count = self._room(receiver)
            if count > 0:
                if self._serial > MAX_SERIAL:
                    self._serial = 1
                serial, self._serial = self._serial, self._serial + count
                indices = receiver.want(serial, count, now)
                self._outstanding += count
                self._by_serial.update((serial + i, receiver) for i in range(count))
                yield Send(
                    receiver.location.source,
                    ChunkRequest(
                        digest=receiver.location.blob_ref.digest, serial=serial, indices=indices
                    ),
                )
                self._watch(receiver)
            if not receiver.appetite:
                self._hungry.pop(receiver.key, None)
            if self._outstanding >= MAX_OUTSTANDING:
                return
