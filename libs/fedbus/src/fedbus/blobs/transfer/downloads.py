"""Downloads: all blobs that this node fetches, under one bound of bytes in flight. Pure.

Chunks are requested in the order of the fetches, so that blobs complete one after another and can
be processed while the next arrive. Only bytes requested and not yet arrived count against the
bound, so a slow link does not block the others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
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
"""Chunks requested at once. A broker queues 100 messages for a subscriber and drops further ones
without notice; control messages are in the same queue."""

MAX_SERIAL = 2**32 - 128

MAX_WINDOWS = 4096
"""Sources whose windows are remembered from one blob to the next."""


@dataclass(frozen=True, slots=True)
class FollowMulticast:
    """Subscribe to the topic of a blob's multicast."""

    source: str
    digest: str


@dataclass(frozen=True, slots=True)
class LeaveMulticast:
    """Unsubscribe from the topic of a blob's multicast."""

    source: str
    digest: str


DownloadStep: TypeAlias = Send | FollowMulticast | LeaveMulticast | Fetched | FetchFailed


class Downloads:
    """All downloads of this node.

    Args:
        in_flight: Bytes that may be requested and not yet arrived.
        first_serial: Serial of the first request. It is drawn at random at each start, so that
            chunks for an earlier process of this node match no request of this one.
    """

    def __init__(self, in_flight: int, first_serial: int = 1) -> None:
        self._in_flight = in_flight
        self._receivers: dict[Key, Receiver] = {}
        self._requesting: dict[Key, Receiver] = {}
        self._by_serial: dict[int, Receiver] = {}
        self._outstanding = 0
        self._serial = first_serial
        self._windows: dict[str, int] = {}
        self._timers = Timers[Key]()

    def __len__(self) -> int:
        return len(self._receivers)

    @property
    def outstanding(self) -> int:
        """Number of chunks of all blobs requested and not yet arrived."""
        return self._outstanding

    def fetch(self, action: Fetch, now: float) -> Iterator[DownloadStep]:
        """Start a download; a running one of the same key is cancelled."""
        yield from self.cancel(Cancel(action.key), now)
        receiver = Receiver(
            action.key,
            action.location,
            action.sink,
            action.members,
            now,
            window=self._windows.get(action.location.source, 1),
        )
        self._receivers[action.key] = receiver
        self._requesting[action.key] = receiver
        if receiver.multicast:
            blob_ref, source = action.location.blob_ref, action.location.source
            yield FollowMulticast(source, blob_ref.digest)
            yield Send(source, Join(digest=blob_ref.digest, members=action.members))
        yield from self._request(now)
        self._set_timer(receiver)

    def cancel(self, action: Cancel, now: float) -> Iterator[DownloadStep]:
        """End the download of this key, if there is one."""
        receiver = self._receivers.get(action.key)
        if receiver is not None:
            if receiver.multicast:
                digest = receiver.location.blob_ref.digest
                yield Send(receiver.location.source, Leave(digest=digest))
            yield from self._end(receiver, None, now)

    def unicast_chunk(self, sender: str, chunk: Chunk, now: float) -> Iterator[DownloadStep]:
        """Accept a chunk that was requested by serial."""
        receiver = self._by_serial.get(chunk.serial)
        if receiver is not None and receiver.location.source == sender:
            before = receiver.outstanding
            if receiver.write_requested(chunk, now):
                del self._by_serial[chunk.serial]
                self._outstanding += receiver.outstanding - before
                yield from self._chunk_written(receiver, now)

    def multicast_chunk(
        self, sender: str, digest: str, chunk: Chunk, now: float
    ) -> Iterator[DownloadStep]:
        """Accept a chunk of a source's multicast."""
        for receiver in self._from(sender, digest):
            if receiver.write_multicast(chunk, now):
                if receiver.multicast and chunk.serial == CONFIRM_SERIAL:
                    yield Send(sender, Confirm(digest=digest, upto=receiver.upto))
                yield from self._chunk_written(receiver, now)

    def use_unicast(self, sender: str, message: UseUnicast, now: float) -> Iterator[DownloadStep]:
        """Continue by unicast."""
        for receiver in self._from(sender, message.digest):
            if receiver.multicast:
                yield from self._leave_multicast(receiver)
        yield from self._request(now)

    def not_found(self, sender: str, message: BlobNotFound, now: float) -> Iterator[DownloadStep]:
        """Fail the downloads of a blob that its source does not have."""
        for receiver in self._from(sender, message.digest):
            yield from self._end(receiver, f"{sender} does not hold {message.digest[:12]}", now)

    def reconnected(self, now: float) -> Iterator[DownloadStep]:
        """Request all outstanding chunks again, by unicast."""
        self._windows.clear()  # it may be another link
        for receiver in list(self._receivers.values()):
            if receiver.multicast:
                yield from self._leave_multicast(receiver)
            self._outstanding -= receiver.outstanding
            receiver.reconnected()
            self._requesting[receiver.key] = receiver
            self._set_timer(receiver)
        yield from self._request(now)

    def due(self, now: float) -> Iterator[DownloadStep]:
        """Request lost chunks again; fail downloads whose source is silent."""
        for key in self._timers.due(now):
            receiver = self._receivers[key]
            if receiver.missed_stream(now):
                yield from self._leave_multicast(receiver)
            elif receiver.source_silent(now):
                source = receiver.location.source
                yield from self._end(receiver, f"no chunk from {source} for a minute", now)
                continue
            else:
                before = receiver.outstanding
                receiver.expire(now)
                self._outstanding += receiver.outstanding - before
                self._requesting[receiver.key] = receiver
            self._set_timer(receiver)
        yield from self._request(now)

    def next(self) -> float | None:
        """Return when to call `due`; None: not yet known."""
        return self._timers.next()

    def _from(self, sender: str, digest: str) -> Iterator[Receiver]:
        for receiver in list(self._receivers.values()):
            location = receiver.location
            # The caller may have ended this download while it handled an earlier one.
            if (
                location.source == sender
                and location.blob_ref.digest == digest
                and self._receivers.get(receiver.key) is receiver
            ):
                yield receiver

    def _chunk_written(self, receiver: Receiver, now: float) -> Iterator[DownloadStep]:
        if receiver.complete:
            self._remember_window(receiver)
            yield from self._end(receiver, None, now)
            yield Fetched(receiver.key, receiver.sink)
        else:
            if receiver.multicast and receiver.upto >= receiver.location.blob_ref.count:
                yield from self._leave_multicast(receiver)  # it is over, and chunks are missing
            if receiver.requestable:
                self._requesting[receiver.key] = receiver
            yield from self._request(now)
            self._set_timer(receiver)

    def _remember_window(self, receiver: Receiver) -> None:
        """Start the next download from this source with the window that this one ended with."""
        self._windows.pop(receiver.location.source, None)
        self._windows[receiver.location.source] = receiver.window
        if len(self._windows) > MAX_WINDOWS:
            del self._windows[next(iter(self._windows))]

    def _leave_multicast(self, receiver: Receiver) -> Iterator[DownloadStep]:
        receiver.use_unicast()
        self._requesting[receiver.key] = receiver
        yield LeaveMulticast(receiver.location.source, receiver.location.blob_ref.digest)

    def _end(self, receiver: Receiver, failure: str | None, now: float) -> Iterator[DownloadStep]:
        del self._receivers[receiver.key]
        self._requesting.pop(receiver.key, None)
        self._timers.cancel(receiver.key)
        self._outstanding -= receiver.outstanding
        for serial in receiver.serials:
            self._by_serial.pop(serial, None)
        if receiver.multicast:
            yield LeaveMulticast(receiver.location.source, receiver.location.blob_ref.digest)
        if failure is not None:
            yield FetchFailed(receiver.key, failure)
        yield from self._request(now)

    def _set_timer(self, receiver: Receiver) -> None:
        at = receiver.check_at()
        if at is None:
            self._timers.cancel(receiver.key)
        else:
            self._timers.set(receiver.key, at)

    def _room(self, receiver: Receiver) -> int:
        chunk = max(1, min(CHUNK_BYTES, receiver.location.blob_ref.size))
        most = min(MAX_OUTSTANDING, max(1, self._in_flight // chunk))
        return min(receiver.requestable, most - self._outstanding, WINDOW)

    def _request(self, now: float) -> Iterator[DownloadStep]:
        for receiver in list(self._requesting.values()):
            count = self._room(receiver)
            if count > 0:
                if self._serial > MAX_SERIAL:
                    self._serial = 1
                serial, self._serial = self._serial, self._serial + count
                indices = receiver.request(serial, count, now)
                self._outstanding += count
                self._by_serial.update((serial + i, receiver) for i in range(count))
                yield Send(
                    receiver.location.source,
                    ChunkRequest(
                        digest=receiver.location.blob_ref.digest, serial=serial, indices=indices
                    ),
                )
                self._set_timer(receiver)
            if not receiver.requestable:
                self._requesting.pop(receiver.key, None)
            if self._outstanding >= MAX_OUTSTANDING:
                return
