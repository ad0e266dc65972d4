"""Actions: what a core wants done, for its shell to perform.

An action's name is in the imperative. An action that is answered by an event, or can be cancelled,
has a correlation key (`keys.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from fedbus.core.blob_io import BlobSink, BlobSource
from fedbus.core.events import ReplyTo
from fedbus.core.keys import Key
from fedbus.wire.blobs import BlobLocation
from fedbus.wire.topics import Topic


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to a node once; it may be lost."""

    to: str
    message: Any


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a message to a node repeatedly, until `Cancel(key)`. The same key replaces.

    `first` is sent instead the first time, if the message should not be repeated in full.
    """

    key: Key
    to: str
    message: Any
    first: Any = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """End an `Ask`, a `WakeAt` or a `Fetch` of this key, if there is one."""

    key: Key


@dataclass(frozen=True, slots=True)
class Announce:
    """Publish a message on a public topic; the topic's levels are fields of the message."""

    topic: Topic
    message: Any


@dataclass(frozen=True, slots=True)
class Clear:
    """Delete a retained message."""

    topic: Topic
    levels: dict[str, object]


@dataclass(frozen=True, slots=True)
class Follow:
    """Receive what is published on a public topic of these levels; what is retained comes first.

    It holds on every connection until `Unfollow`. Repeated, what is retained comes again.
    """

    topic: Topic
    levels: dict[str, str]


@dataclass(frozen=True, slots=True)
class Unfollow:
    """End a `Follow`; what is on its way still arrives."""

    topic: Topic
    levels: dict[str, str]


@dataclass(frozen=True, slots=True)
class Introduce:
    """Publish this node's own state again, because its facts have changed."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Report in this node's state what prevents its work; an empty sentence ends the report."""

    sentence: str


@dataclass(frozen=True, slots=True)
class AnnounceNoiseKey:
    """Report in this node's state the digest of the noise key that it has; None ends the report."""

    digest: str | None


@dataclass(frozen=True, slots=True)
class AnnounceEncryptionKey:
    """Report in this node's state the id of the key for homomorphic encryption that it has."""

    key: str


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer a foreign client."""

    to: ReplyTo
    payload: bytes
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class Deliver:
    """Call `to` with the answer to a request of this process's own servers, in the event loop."""

    to: Callable[[Any], None]
    result: Any


@dataclass(frozen=True, slots=True)
class Settle:
    """Acknowledge the request with this receipt: the broker may delete it."""

    receipt: int


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Send `Woke(key)` at this time of the monotonic clock, in seconds; the same key replaces."""

    key: Key
    at: float


@dataclass(frozen=True, slots=True)
class Run:
    """Call in a thread; `Ran` or `RunFailed` follows. A long call reads a flag of its core.

    A `brief` call ends sooner than a thread would start it, and is made between two events. One
    `apart` gets a thread of its own: it may hang, and no other call waits for it.
    """

    key: Key
    call: Callable[[], Any]
    brief: bool = False
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Fetch:
    """Download a blob into a sink: by multicast with about `members` nodes; 0: by unicast."""

    key: Key
    location: BlobLocation
    sink: BlobSink
    members: int = 0


@dataclass(frozen=True, slots=True)
class Serve:
    """Serve this blob to the nodes that may read it; None: to any. The same digest replaces."""

    digest: str
    source: BlobSource
    readers: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Unserve:
    """Stop serving this blob."""

    digest: str


@dataclass(frozen=True, slots=True)
class Note:
    """Write a log event with its facts, and increase the event's counter."""

    event: str
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Quit:
    """Exit with this code, for a reason that only a new process can correct."""

    code: int
    reason: str


Action: TypeAlias = (
    Send | Ask | Cancel | Announce | Clear | Follow | Unfollow | Introduce | Trouble
    | AnnounceNoiseKey | AnnounceEncryptionKey | Reply | Deliver | Settle | WakeAt | Run | Fetch
    | Serve | Unserve | Note | Quit
)  # fmt: skip
