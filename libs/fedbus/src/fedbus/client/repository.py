"""Requests to the repository: ask a question, push a model, fetch blobs. Pure.

Each is a small core for a real node, so that a blob crosses the bus here by the same code as
anywhere; `transfer.py` runs it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from fedbus.blobs.spool import Spool, Spools
from fedbus.client.failures import Failed, Refused, Unreachable
from fedbus.core.actions import Action, Ask, Cancel, Fetch, Run, Serve, WakeAt
from fedbus.core.events import Connected, Event, Fetched, FetchFailed, Ran, Received, Woke
from fedbus.core.keys import Key
from fedbus.wire.blobs import BlobLocation, BlobRef
from fedbus.wire.documents import AgentFacts
from fedbus.wire.messages import PushModel, RequestRefused
from fedbus.wire.topics import Topic

if TYPE_CHECKING:
    from fedbus.errors import FedbusError

PATIENCE_SECONDS = 15.0
"""How long the repository may take to begin an answer, by default."""
STALLED_SECONDS = 60.0
"""How long it may take to continue one: what is lost is asked for again, later and later."""

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class AnswerDeadline(Key):
    """Timer: the next sign of life must have come."""


@dataclass(frozen=True, slots=True)
class OpenQuestion(Key):
    """Request of the one question of an errand."""


@dataclass(frozen=True, slots=True)
class BlobFetch(Key):
    """Fetch of a blob."""

    digest: str


@dataclass(frozen=True, slots=True)
class DigestCheck(Key):
    """Run that computes the digest of a fetched blob."""

    digest: str


class Errand(Generic[R]):
    """A request to one node, from its connection to its one result.

    Args:
        to: The node that is asked.
        about: What is asked for, as the node names it in a refusal; "" is anything.

    Attributes:
        moved: Called with the bytes sent or received; those that are sent twice count twice.
        patience_seconds: How long the node may take to begin its answer.
    """

    listens: tuple[Topic, ...] = ()

    def __init__(self, to: str, about: str = "") -> None:
        self.to = to
        self.about = about
        self.patience_seconds = PATIENCE_SECONDS
        self.finish: Callable[[R | FedbusError], None] = lambda _: None
        self.moved: Callable[[int], None] = lambda _: None
        self._begun = False
        self._over = False
        self._signs = 0
        self._seen = 0

    def facts(self) -> AgentFacts | None:
        """Only agents announce facts."""
        return None

    def progress(self) -> float:
        """Nobody asks an errand."""
        return 0.0

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Begin on connecting; give up when there was no sign of life for too long."""
        match event:
            case _ if self._over:
                pass  # in a simulation it lives on beside others
            case Connected() if self._begun:
                pass  # the node repeats what is open
            case Connected():
                self._begun = True
                yield WakeAt(AnswerDeadline(), now + self.patience_seconds)
                yield from self.begin()
            case Received(sender, RequestRefused(about=about, reason=reason)) if sender == self.to:
                # Another client of this account may have asked for something else.
                if self.about in {"", about}:
                    self.end(Refused(f"{self.to}: {reason}"))
            case Woke(AnswerDeadline()) if self._signs > self._seen:
                self._seen = self._signs
                yield WakeAt(AnswerDeadline(), now + STALLED_SECONDS)
            case Woke(AnswerDeadline()):
                seconds = f"{STALLED_SECONDS if self._signs else self.patience_seconds:g} s"
                self.end(Unreachable(f"{self.to} did not answer in {seconds}; is it running?"))
            case _:
                yield from self.go_on(event)

    def end(self, result: "R | FedbusError") -> None:
        """Come to the one end."""
        self._over = True
        self.finish(result)

    def lives(self, count: int = 0) -> None:
        """Note a sign that the errand gets on, by so many bytes."""
        self._signs += 1
        self.moved(count)

    def begin(self) -> Iterator[Action]:
        """Say what is wanted."""
        raise NotImplementedError

    def go_on(self, event: Event) -> Iterator[Action]:
        """Take what comes."""
        raise NotImplementedError


class Question(Errand[R]):
    """A question with one answer.

    Args:
        to: The node that is asked.
        message: The question.
        answer: The type of its answer.
        about: What is asked for, as the node names it in a refusal; "" is anything.
        fits: Whether a message of that type answers this question: another client of the same
            account may have asked another one.
    """

    def __init__(
        self,
        to: str,
        message: object,
        answer: type[R],
        about: str = "",
        fits: Callable[[R], bool] = lambda _: True,
    ) -> None:
        super().__init__(to, about)
        self._message = message
        self._answer = answer
        self._fits = fits

    def begin(self) -> Iterator[Action]:
        """Ask."""
        yield Ask(OpenQuestion(), self.to, self._message)

    def go_on(self, event: Event) -> Iterator[Action]:
        """Take the answer."""
        match event:
            case Received(sender, message) if sender == self.to:
                if isinstance(message, self._answer) and self._fits(message):
                    yield Cancel(OpenQuestion())
                    self.end(message)
            case _:
                pass


class _Watched:
    """A source that tells when somebody reads it."""

    def __init__(self, data: bytes | bytearray, on_read: Callable[[int], None]) -> None:
        self._data = memoryview(data)
        self._on_read = on_read

    @property
    def size(self) -> int:
        return len(self._data)

    def read(self, offset: int, length: int) -> memoryview:
        self._on_read(length)
        return self._data[offset : offset + length]


class Push(Question[R]):
    """Bring a model: serve its blobs until the repository has stored them."""

    def __init__(
        self,
        to: str,
        push: PushModel,
        answer: type[R],
        blobs: Mapping[str, bytes | bytearray],
        fits: Callable[[R], bool] = lambda _: True,
    ) -> None:
        super().__init__(to, push, answer, push.model, fits)
        self._blobs = blobs

    def begin(self) -> Iterator[Action]:
        """Serve, then ask."""
        for digest, data in self._blobs.items():
            yield Serve(digest, _Watched(data, self.lives))
        yield from super().begin()


class Pull(Errand[dict[str, Spool]]):
    """Fetch blobs, and check that they are what they are called."""

    def __init__(self, source: str, blobs: tuple[BlobRef, ...], spools: Spools) -> None:
        super().__init__(source)
        self._blobs = {blob.digest: blob for blob in blobs}
        self._spools = spools
        self._arrived: dict[str, Spool] = {}

    def begin(self) -> Iterator[Action]:
        """Fetch all."""
        for blob in self._blobs.values():
            sink = _Counted(self._spools.make(blob.size), self.lives)
            yield Fetch(BlobFetch(blob.digest), BlobLocation(blob_ref=blob, source=self.to), sink)

    def go_on(self, event: Event) -> Iterator[Action]:
        """Check what has come."""
        match event:
            case Fetched(BlobFetch(digest), _Counted() as sink):
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


class _Counted:
    """A sink that tells when something has come."""

    def __init__(self, spool: Spool, on_write: Callable[[int], None]) -> None:
        self.spool = spool
        self._on_write = on_write

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self._on_write(len(data))
        self.spool.write(offset, data)


def _check_digest(spool: Spool, digest: str) -> Spool | None:
    return spool if spool.digest() == digest else None
