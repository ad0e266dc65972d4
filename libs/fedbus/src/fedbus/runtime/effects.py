"""What a node wants done: the few things that a shell performs, in this order. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from fedbus.blobs.transfer.chunk import write_chunk
from fedbus.blobs.transfer.uploads import SendChunk
from fedbus.core.actions import Note, Quit
from fedbus.core.keys import Key
from fedbus.mqtt.bus import Packet
from fedbus.wire.blobs import CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish this packet now."""

    packet: Packet


@dataclass(frozen=True, slots=True)
class PublishChunk:
    """Publish a chunk when bulk has its turn; read only then."""

    topic: str
    chunk: SendChunk

    def packet(self) -> Packet:
        """Read the slice and put its header in front."""
        source, at = self.chunk.source, self.chunk.index * CHUNK_BYTES
        data = source.read(at, min(CHUNK_BYTES, source.size - at))
        return Packet(self.topic, write_chunk(self.chunk.serial, self.chunk.index, data))


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Tell the broker that a packet with this receipt is dealt with."""

    receipt: int


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Subscribe to this topic."""

    topic: str


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Unsubscribe from it."""

    topic: str


@dataclass(frozen=True, slots=True)
class StartRun:
    """Call in a thread, then `node.ran` or `node.run_failed` with the key; if `brief`, in none."""

    key: Key
    call: Callable[[], Any]
    brief: bool = False


@dataclass(frozen=True, slots=True)
class Misread:
    """Something arrived that could not be read; for the log and the counters."""

    topic: str
    reason: str


Effect: TypeAlias = (
    Publish
    | PublishChunk
    | Acknowledge
    | Subscribe
    | Unsubscribe
    | StartRun
    | Misread
    | Note
    | Quit
)
