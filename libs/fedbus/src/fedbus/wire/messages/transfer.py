"""Messages of a blob transfer: multicast membership and chunk requests."""

from dataclasses import dataclass
from typing import Annotated

from fedbus.scalars import Bounds, Strict, Whole
from fedbus.wire.identifiers import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """The sender follows `blobs/{receiver}/{digest}`, as about `members` nodes will."""

    digest: Digest
    members: Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """The multicast has passed the sender up to chunk `upto`; missing ones are requested later."""

    digest: Digest
    upto: Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """The sender no longer follows the multicast."""

    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class UseUnicast:
    """The multicast ends for the receiver, which requests the chunks that it misses."""

    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRequest:
    """Send these chunks to the sender; chunk `indices[i]` carries the serial `serial + i`."""

    digest: Digest
    serial: Annotated[int, Strict(ge=1, lt=2**32 - 64)]
    indices: Annotated[
        tuple[Annotated[int, Strict(ge=0, lt=2**31)], ...],
        Bounds(min_length=1, max_length=64),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobNotFound:
    """The sender does not have the blob."""

    digest: Digest
