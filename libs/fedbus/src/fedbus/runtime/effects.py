"""Effects of a node, which a shell performs in order. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from fedbus.blobs.transfer.chunk import write_chunk
from fedbus.blobs.transfer.uploads import SendChunk
from fedbus.core.actions import Deliver, Note, Quit
from fedbus.core.keys import Key
from fedbus.mqtt.bus import Packet
from fedbus.wire.blobs import CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish this packet now."""

    packet: Packet


@dataclass(frozen=True, slots=True)
class PublishChunk:
    """Publish a chunk after all other packets; its data is read only then."""

    topic: str
    chunk: SendChunk

    def packet(self) -> Packet:
        """Read the data and format the chunk; may wait, if the source is a `WaitingSource`."""
        return self._packet(self.chunk.source.read(*self._range))

    def packet_now(self) -> Packet | None:
        """Do so if the data is in memory; None: `packet` waits for it."""
        read_now = getattr(self.chunk.source, "read_now", None)
        if read_now is None:
            return self.packet()
        data = read_now(*self._range)
        return None if data is None else self._packet(data)

    @property
    def _range(self) -> tuple[int, int]:
        at = self.chunk.index * CHUNK_BYTES
        return at, min(CHUNK_BYTES, self.chunk.source.size - at)

    def _packet(self, data: bytes | memoryview) -> Packet:
        return Packet(self.topic, write_chunk(self.chunk.serial, self.chunk.index, data))


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Acknowledge the packet with this receipt to the broker."""

    receipt: int


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Subscribe to this topic."""

    topic: str


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Unsubscribe from this topic."""

    topic: str


@dataclass(frozen=True, slots=True)
class StartRun:
    """Call in a thread, or, if `brief`, in the event loop; pass the result to the node.

    With `reads`, the thread is one that reads blobs: no long call of the core delays it. With
    `apart`, it is started for this call.
    """

    key: Key
    call: Callable[[], Any]
    brief: bool = False
    reads: bool = False
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Misread:
    """Log and count a packet that could not be read."""

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
    | Deliver
    | Note
    | Quit
)
