"""Requests to the repository: queries, pushes of models, pulls of blobs. Pure.

Each is a core for a node, so that a blob crosses the bus by the code that services use;
`session_node.py` runs it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from fedbus.blobs.spool import Spool, Spools
from fedbus.client.failures import Failed, Refused, Unreachable
from fedbus.core.actions import Action, Ask, Cancel, Fetch, Run, Serve, WakeAt
from fedbus.core.events import Connected, Event, Fetched, FetchFailed, Ran, Received, Woke
from fedbus.core.interface import Core
from fedbus.core.keys import Key
from fedbus.wire.blobs import BlobLocation, BlobRef
from fedbus.wire.messages import PushModel, RequestRefused
from fedbus.wire.refusals import refuses

if TYPE_CHECKING:
    from fedbus.errors import FedbusError

PATIENCE_SECONDS = 15.0
"""How long the repository may take to begin an answer, by default."""
STALLED_SECONDS = 60.0
"""How long it may take to continue: lost chunks are requested again after growing pauses."""

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class AnswerDeadline(Key):
    """Timer: progress must have been made."""


@dataclass(frozen=True, slots=True)
class OpenQuery(Key):
    """The request that a query repeats until it is answered."""


@dataclass(frozen=True, slots=True)
class BlobFetch(Key):
    """Fetch of a blob."""

    digest: str


@dataclass(frozen=True, slots=True)
class DigestCheck(Key):
    """Run that computes the digest of a fetched blob."""

    digest: str


class RepositoryRequest(Core, Generic[R]):
    """Core of one request to one node, up to its result.

    Args:
        to: The node that is asked.

    Attributes:
        moved: Called with each number of bytes sent or received; bytes sent twice count twice.
        patience_seconds: How long the node may take to begin its answer.
    """

    def __init__(self, to: str) -> None:
        self.to = to
        self.patience_seconds = PATIENCE_SECONDS
        self.finish: Callable[[R | FedbusError], None] = lambda _: None
        self.moved: Callable[[int], None] = lambda _: None
        self._begun = False
        self._over = False
        self._progressed = 0
        self._noted = 0

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Begin on the first connection; end with the result, or a timeout."""
        match event:
            case _ if self._over:
                pass  # in a simulation the node stays
            case Connected() if self._begun:
                pass  # the node repeats open requests
            case Connected():
                self._begun = True
                yield WakeAt(AnswerDeadline(), now + self.patience_seconds)
                yield from self.begin()
            case Woke(AnswerDeadline()) if self._progressed > self._noted:
                self._noted = self._progressed
                yield WakeAt(AnswerDeadline(), now + STALLED_SECONDS)
            case Woke(AnswerDeadline()):
                seconds = f"{STALLED_SECONDS if self._progressed else self.patience_seconds:g} s"
                self.end(Unreachable(f"{self.to} did not answer in {seconds}; is it running?"))
            case _:
                yield from self.continue_with(event)

    def end(self, result: "R | FedbusError") -> None:
        """End with a result or an error."""
        self._over = True
        self.finish(result)

    def note_progress(self, count: int = 0) -> None:
        """Note that this many bytes were sent or received."""
        self._progressed += 1
        self.moved(count)

    def begin(self) -> Iterator[Action]:
        """Yield the first actions."""
        raise NotImplementedError

    def continue_with(self, event: Event) -> Iterator[Action]:
        """Handle an event after the first connection."""
        raise NotImplementedError


class RepositoryQuery(RepositoryRequest[R]):
    """A message that is answered with one message, or refused.

    Args:
        to: The node that is asked.
        message: The query.
        answer: The type of its answer.
        fits: Whether a message of that type answers this query, and not one of another client of
            the same account.
    """

    def __init__(
        self,
        to: str,
        message: object,
        answer: type[R],
        fits: Callable[[R], bool] = lambda _: True,
    ) -> None:
        super().__init__(to)
        self._message = message
        self._answer = answer
        self._fits = fits

    def begin(self) -> Iterator[Action]:
        """Send the query."""
        yield Ask(OpenQuery(), self.to, self._message)

    def continue_with(self, event: Event) -> Iterator[Action]:
        """End with the answer, or the refusal of this query."""
        match event:
            case Received(sender, RequestRefused() as refused) if sender == self.to:
                if refuses(refused, self._message):
                    answer = {"reason": refused.reason, "kind": refused.kind}
                    self.end(Refused(f"{self.to}: {refused.reason}", answer))
            case Received(sender, message) if sender == self.to:
                if isinstance(message, self._answer) and self._fits(message):
                    yield Cancel(OpenQuery())
                    self.end(message)
            case _:
                pass


class _CountingSource:
    """A source of bytes that reports each read."""

    def __init__(self, data: bytes | bytearray, on_read: Callable[[int], None]) -> None:
        self._data = memoryview(data)
        self._on_read = on_read

    @property
    def size(self) -> int:
        return len(self._data)

    def read(self, offset: int, length: int) -> memoryview:
        self._on_read(length)
        return self._data[offset : offset + length]


class Push(RepositoryQuery[R]):
    """Push of a model: serves its blobs until the repository has stored them."""

    def __init__(
        self,
        to: str,
        push: PushModel,
        answer: type[R],
        blobs: Mapping[str, bytes | bytearray],
        fits: Callable[[R], bool] = lambda _: True,
    ) -> None:
        super().__init__(to, push, answer, fits)
        self._blobs = blobs

    def begin(self) -> Iterator[Action]:
        """Serve the blobs, then send the push."""
        for digest, data in self._blobs.items():
            yield Serve(digest, _CountingSource(data, self.note_progress))
        yield from super().begin()


class Pull(RepositoryRequest[dict[str, Spool]]):
    """Pull of blobs, whose digests are checked."""

    def __init__(self, source: str, blobs: tuple[BlobRef, ...], spools: Spools) -> None:
        super().__init__(source)
        self._blobs = {blob.digest: blob for blob in blobs}
        self._spools = spools
        self._arrived: dict[str, Spool] = {}

    def begin(self) -> Iterator[Action]:
        """Fetch every blob."""
        for blob in self._blobs.values():
            sink = _CountingSink(self._spools.make(blob.size), self.note_progress)
            yield Fetch(BlobFetch(blob.digest), BlobLocation(blob_ref=blob, source=self.to), sink)

    def continue_with(self, event: Event) -> Iterator[Action]:
        """Check the digest of each blob that has arrived."""
        match event:
            case Fetched(BlobFetch(digest), _CountingSink() as sink):
                yield Run(DigestCheck(digest), partial(_check_digest, sink.spool, digest))
            case FetchFailed(BlobFetch(), reason):
                self.end(Failed(f"{self.to}: {reason}"))
            case Ran(DigestCheck(digest), Spool() as spool):
                self._arrived[digest] = spool
                if self._arrived.keys() == self._blobs.keys():
                    self.end(self._arrived)
            case Ran(DigestCheck(digest), _):
                self.end(Failed(f"{self.to}: other bytes than {digest[:12]} names"))
            case _:
                pass


class _CountingSink:
    """A sink of bytes that reports each write."""

    def __init__(self, spool: Spool, on_write: Callable[[int], None]) -> None:
        self.spool = spool
        self._on_write = on_write

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self._on_write(len(data))
        self.spool.write(offset, data)


def _check_digest(spool: Spool, digest: str) -> Spool | None:
    return spool if spool.digest() == digest else None
