"""Transfers of a node: its downloads and uploads, as effects for its shell. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, assert_never

from fedbus.blobs.transfer.chunk import Chunk
from fedbus.blobs.transfer.downloads import (
    Downloads,
    DownloadStep,
    FollowMulticast,
    LeaveMulticast,
)
from fedbus.blobs.transfer.uploads import OpenStored, SendChunk, Uploads, UploadStep
from fedbus.core.actions import Cancel, Fetch, Send, Serve, Unserve
from fedbus.core.blob_io import BlobFinder, BlobSource
from fedbus.core.events import Fetched, FetchFailed
from fedbus.core.keys import Key
from fedbus.runtime.effects import Publish, PublishChunk, StartRun, Subscribe, Unsubscribe
from fedbus.runtime.identity import Identity
from fedbus.wire import topic_names
from fedbus.wire.messages import BlobNotFound, ChunkRequest, Confirm, Join, Leave, UseUnicast

TransferMessage: TypeAlias = ChunkRequest | Confirm | Join | Leave | UseUnicast | BlobNotFound
TransferStep: TypeAlias = (
    Publish | PublishChunk | StartRun | Subscribe | Unsubscribe | Fetched | FetchFailed
)
"""An effect for the shell, or an event for the core."""


@dataclass(frozen=True, slots=True)
class OpenedBlob(Key):
    """Run of the node itself: a stored blob is being opened."""

    digest: str


class NodeTransfers:
    """All transfers of a node.

    Each method returns an iterator that performs its work as it is consumed.
    """

    def __init__(self, identity: Identity, first_serial: int, stored: BlobFinder | None) -> None:
        self._identity = identity
        self._downloads = Downloads(identity.in_flight, first_serial)
        self._uploads = Uploads(identity.in_flight, stored)
        self._stored = stored
        self._followers: Counter[str] = Counter()

    def reconnected(self, now: float) -> Iterator[TransferStep]:
        """Continue all transfers over a new connection, which has no subscriptions."""
        self._followers.clear()
        yield from self._of_uploads(self._uploads.reconnected())
        yield from self._of_downloads(self._downloads.reconnected(now))

    def unicast_chunk(self, sender: str, chunk: Chunk, now: float) -> Iterator[TransferStep]:
        """Accept a chunk sent to this node."""
        return self._of_downloads(self._downloads.unicast_chunk(sender, chunk, now))

    def multicast_chunk(
        self, source: str, digest: str, chunk: Chunk, now: float
    ) -> Iterator[TransferStep]:
        """Accept a chunk of a multicast."""
        return self._of_downloads(self._downloads.multicast_chunk(source, digest, chunk, now))

    def receive(self, sender: str, message: TransferMessage, now: float) -> Iterator[TransferStep]:
        """Handle a message of a transfer."""
        match message:
            case ChunkRequest():
                return self._of_uploads(self._uploads.request(sender, message, now))
            case Confirm():
                return self._of_uploads(self._uploads.confirm(sender, message, now))
            case Join():
                return self._of_uploads(self._uploads.join(sender, message, now))
            case Leave():
                return self._of_uploads(self._uploads.leave(sender, message, now))
            case UseUnicast():
                return self._of_downloads(self._downloads.use_unicast(sender, message, now))
            case BlobNotFound():
                return self._of_downloads(self._downloads.not_found(sender, message, now))
            case _:
                assert_never(message)

    def opened(self, digest: str, source: BlobSource | None, now: float) -> Iterator[TransferStep]:
        """Serve a stored blob that was opened; None: it does not exist."""
        return self._of_uploads(self._uploads.opened(digest, source, now))

    def not_opened(self, digest: str) -> None:
        """Forget the requests for a stored blob that cannot be opened now."""
        self._uploads.not_opened(digest)

    def perform(
        self, action: Fetch | Cancel | Serve | Unserve, now: float
    ) -> Iterator[TransferStep]:
        """Perform a core's action."""
        match action:
            case Fetch():
                yield from self._of_downloads(self._downloads.fetch(action, now))
            case Cancel():
                yield from self._of_downloads(self._downloads.cancel(action, now))
            case Serve():
                self._uploads.serve(action.digest, action.source, action.readers)
            case Unserve():
                self._uploads.unserve(action.digest)
            case _:
                assert_never(action)

    def due(self, now: float) -> Iterator[TransferStep]:
        """Do what is due: start multicasts, request lost chunks again."""
        yield from self._of_uploads(self._uploads.due(now))
        yield from self._of_downloads(self._downloads.due(now))

    def next(self) -> float | None:
        """Return when to call `due`; None: not yet known."""
        times = (self._uploads.next(), self._downloads.next())
        return min((at for at in times if at is not None), default=None)

    def _of_uploads(self, steps: Iterable[UploadStep]) -> Iterator[TransferStep]:
        root, name = self._identity.root, self._identity.name
        for step in steps:
            match step:
                case Send(to, message):
                    yield Publish(self._identity.packet_to(to, message))
                case SendChunk(to, digest):
                    topic = (
                        topic_names.multicast_topic(root, name, digest)
                        if to is None
                        else topic_names.unicast_topic(root, name, to)
                    )
                    yield PublishChunk(topic, step)
                case OpenStored(digest) if self._stored is not None:
                    call = partial(self._stored.open_blob, digest)
                    yield StartRun(OpenedBlob(digest), call, reads=True)
                case OpenStored():  # pragma: no cover - without `stored` there is none
                    pass
                case _:
                    assert_never(step)

    def _of_downloads(self, steps: Iterable[DownloadStep]) -> Iterator[TransferStep]:
        for step in steps:
            match step:
                case Send(to, message):
                    yield Publish(self._identity.packet_to(to, message))
                case Fetched() | FetchFailed():
                    yield step
                case FollowMulticast():
                    topic = self._multicast_topic(step)
                    self._followers[topic] += 1
                    if self._followers[topic] == 1:
                        yield Subscribe(topic)
                case LeaveMulticast():
                    # Two downloads may follow one multicast: the last one unsubscribes.
                    topic = self._multicast_topic(step)
                    self._followers[topic] -= 1
                    if self._followers[topic] == 0:
                        yield Unsubscribe(topic)
                    if self._followers[topic] <= 0:
                        del self._followers[topic]
                case _:
                    assert_never(step)

    def _multicast_topic(self, step: FollowMulticast | LeaveMulticast) -> str:
        return topic_names.multicast_topic(self._identity.root, step.source, step.digest)
