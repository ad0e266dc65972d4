"""What a core is told, and what it may ask for: all that a service and its shell say.

Events are facts in the past tense; actions are requests in the imperative. An event names the
action it answers by the action's correlation key (`keys.py`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from fedbus.core.keys import Key
from fedbus.wire.documents import AgentFacts
from fedbus.wire.topics import Topic
from fedbus.wire.values import BlobLocation


class Sink(Protocol):
    """Where the bytes of an arriving blob go, in any order."""

    def write(self, offset: int, data: bytes | memoryview, /) -> None:
        """Put bytes at an offset."""


class Source(Protocol):
    """Where the bytes of a served blob come from."""

    @property
    def size(self) -> int:
        """Bytes in all."""

    def read(self, offset: int, length: int, /) -> bytes | memoryview:
        """Return `length` bytes at an offset; a memoryview is a lease, to be released after use."""


@dataclass(frozen=True, slots=True)
class ReplyTo:
    """Where a foreign client wants its answer: MQTT 5's response topic and correlation data."""

    topic: str
    correlation: bytes | None
    content_type: str | None


# ── events ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Connected:
    """The bus is there (again): publish what people look for, ask what must be asked."""


@dataclass(frozen=True, slots=True)
class Received:
    """A typed message; `sender` is the address it came from, checked against the topic table."""

    sender: str
    message: Any


@dataclass(frozen=True, slots=True)
class Requested:
    """A foreign client's message on a public topic: raw bytes, and where an answer may go.

    `retained`: the broker had it before we subscribed. With a `receipt` the broker keeps it, and
    gives it again on the next connection, `redelivered`, until `Settle` names that. `unanswerable`
    says why no answer may go anywhere.
    """

    topic: Topic
    levels: dict[str, str]
    payload: bytes
    content_type: str | None
    reply: ReplyTo | None
    retained: bool = False
    receipt: int | None = None
    unanswerable: str = ""
    redelivered: bool = False


@dataclass(frozen=True, slots=True)
class Woke:
    """The time of `WakeAt(key, …)` has come."""

    key: Key


@dataclass(frozen=True, slots=True)
class Ran:
    """A `Run` returned."""

    key: Key
    result: Any


@dataclass(frozen=True, slots=True)
class RunFailed:
    """A `Run` raised."""

    key: Key
    error: Exception


@dataclass(frozen=True, slots=True)
class Fetched:
    """All bytes of a blob lie in its sink. Its digest is not checked yet: that takes a `Run`."""

    key: Key
    sink: Sink


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """A blob will not come: its source lost it, or was silent for too long."""

    key: Key
    reason: str


@dataclass(frozen=True, slots=True)
class Local:
    """Somebody at this process's own door, which checked it, wants something; not from the bus."""

    message: Any


@dataclass(frozen=True, slots=True)
class Stopping:
    """The process is leaving: raise the flags of long work."""


Event: TypeAlias = (
    Connected
    | Received
    | Requested
    | Woke
    | Ran
    | RunFailed
    | Fetched
    | FetchFailed
    | Local
    | Stopping
)

# ── actions ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Send:
    """Say something to a node, once; it may be lost."""

    to: str
    message: Any


@dataclass(frozen=True, slots=True)
class Ask:
    """Say something to a node until `Cancel(key)`: what must arrive. The same key replaces.

    `first` is said instead the first time, for what should not be repeated in full.
    """

    key: Key
    to: str
    message: Any
    first: Any = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop an `Ask`, a `WakeAt` or a `Fetch` of this key; none is no mistake."""

    key: Key


@dataclass(frozen=True, slots=True)
class Announce:
    """Publish a message on a public topic; its levels are the message's fields unless given."""

    topic: Topic
    message: Any


@dataclass(frozen=True, slots=True)
class Clear:
    """Take back a retained message."""

    topic: Topic
    levels: dict[str, object]


@dataclass(frozen=True, slots=True)
class Introduce:
    """Publish this node's own state again: its facts have changed."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Say in this node's state what keeps it from its work, for people; "" is nothing any more."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer a foreign client."""

    to: ReplyTo
    payload: bytes
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class Settle:
    """What was requested with this receipt is dealt with: the broker may forget it."""

    receipt: int


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Send `Woke(key)` at this time of the monotonic clock, seconds; the same key replaces."""

    key: Key
    at: float


@dataclass(frozen=True, slots=True)
class Run:
    """Call in a thread; `Ran` or `RunFailed` follows. A long call reads a flag of its core's.

    A `brief` call is over sooner than a thread would wake for it, and is made between two events.
    """

    key: Key
    call: Callable[[], Any]
    brief: bool = False


@dataclass(frozen=True, slots=True)
class Fetch:
    """Receive a blob into a sink: in a group of about `members`, or on a lane if that is 0."""

    key: Key
    reference: BlobLocation
    sink: Sink
    members: int = 0


@dataclass(frozen=True, slots=True)
class Serve:
    """Let whoever asks fetch this blob from here."""

    digest: str
    source: Source


@dataclass(frozen=True, slots=True)
class Unserve:
    """No longer serve it."""

    digest: str


@dataclass(frozen=True, slots=True)
class Note:
    """Tell whoever runs this service: an event for the log and the counters, with its facts."""

    event: str
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Quit:
    """Leave, with this exit code, for a reason that only a new process can mend."""

    code: int
    reason: str


Action: TypeAlias = (
    Send
    | Ask
    | Cancel
    | Announce
    | Clear
    | Introduce
    | Trouble
    | Reply
    | Settle
    | WakeAt
    | Run
    | Fetch
    | Serve
    | Unserve
    | Note
    | Quit
)


def step_name(step: Event | Action) -> str:
    """Name a step of a core, as fault tests do: `send:Commit`, `received:Offer`, `run:FoldRun`."""
    match step:
        case Received(_, message) | Send(_, message) | Ask(_, _, message):
            verb = "received" if isinstance(step, Received) else "send"
            return f"{verb}:{type(message).__name__}"
        case Run(key) | Ran(key) | RunFailed(key) | Fetch(key) | Fetched(key):
            return f"{type(step).__name__.lower()}:{key.name}"
        case _:
            return type(step).__name__.lower()


class Core(Protocol):
    """What a service is, once time, threads and the broker are taken away."""

    @property
    def listens(self) -> tuple[Topic, ...]:
        """Public topics it reads."""

    def facts(self) -> AgentFacts | None:
        """What an agent announces of itself; None for every other role."""

    def progress(self) -> float:
        """Of the running task, 0 to 1."""

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Decide. Never waits, never reads a clock, never raises on what others sent."""
