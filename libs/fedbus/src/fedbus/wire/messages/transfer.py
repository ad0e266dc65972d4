"""A blob crosses the bus: joining a group, wanting chunks."""

from dataclasses import dataclass
from typing import Annotated

from fedbus.scalars import Bounds, Strict, Whole
from fedbus.wire.values import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """I follow `blobs/{you}/{digest}`; `members` of us will, so wait for them a moment."""

    digest: Digest
    members: Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """The group's stream has passed me up to chunk `upto` (holes included: those I shall want)."""

    digest: Digest
    upto: Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """I no longer follow the group."""

    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class UseUnicast:
    """The group goes on without you, or is over: want the chunks you miss."""

    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRequest:
    """Send me these chunks; chunk `indices[i]` echoes serial `serial + i`."""

    digest: Digest
    serial: Annotated[int, Strict(ge=1, lt=2**32 - 64)]
    indices: Annotated[
        tuple[Annotated[int, Strict(ge=0, lt=2**31)], ...],
        Bounds(min_length=1, max_length=64),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobNotFound:
    """I do not hold that blob."""

    digest: Digest
