"""Events: facts given to a core.

An event's name is in the past tense. An event that answers an action has the action's correlation
key (`keys.py`).
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

from fedbus.core.blob_io import BlobSink
from fedbus.core.keys import Key
from fedbus.wire.topics import Topic


@dataclass(frozen=True, slots=True)
class ReplyTo:
    """Address of a foreign client's reply: MQTT 5's response topic and correlation data."""

    topic: str
    correlation: bytes | None
    content_type: str | None


@dataclass(frozen=True, slots=True)
class Connected:
    """The bus is connected (again): publish retained documents, repeat open requests."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message arrived; its `sender` was checked against the topic table."""

    sender: str
    message: Any


@dataclass(frozen=True, slots=True)
class Requested:
    """A foreign client's message arrived on a public topic, as raw bytes.

    Attributes:
        retained: The broker had it before this node subscribed.
        receipt: The broker keeps the message, and delivers it on every connection, until a
            `Settle` has this receipt; None: the broker does not keep it.
        unanswerable: Why no reply can be sent; empty if `reply` is the address for one.
        redelivered: The broker had delivered it before.
        expiry: Seconds after which its client does not want an answer any more; None: not stated.
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
    expiry: int | None = None


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
    """All bytes of a blob are in its sink. Its digest is not checked yet: that takes a `Run`."""

    key: Key
    sink: BlobSink


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """A blob will not arrive: its source does not have it, or has not answered for too long."""

    key: Key
    reason: str


@dataclass(frozen=True, slots=True)
class Local:
    """A request arrived over this process's own HTTP API, which has checked it.

    An answer goes back with `Deliver`.
    """

    message: Any


@dataclass(frozen=True, slots=True)
class Stopping:
    """The process is stopping: set the cancellation flags of long work."""


Event: TypeAlias = (
    Connected | Received | Requested | Woke | Ran | RunFailed | Fetched | FetchFailed | Local
    | Stopping
)  # fmt: skip
