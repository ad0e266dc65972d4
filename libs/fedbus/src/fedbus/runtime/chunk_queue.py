"""Chunks that wait to be published on one connection, in order, read where reading may wait.

A chunk whose data is in memory is read in the event loop, just before it is published. One that a
disk or a database has to read is read in a thread; meanwhile the later chunks of its topic wait,
since a receiver takes a chunk for lost that a later one overtakes, and those of other topics go on.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from fedbus.errors import FedbusError
from fedbus.mqtt.bus import Packet
from fedbus.runtime.effects import PublishChunk

if TYPE_CHECKING:
    from concurrent.futures import Future

Read: TypeAlias = Callable[[Callable[[], Packet], Callable[["Future[Packet]"], None]], None]
"""Calls the first argument in a thread, and the second in the event loop with the result."""
Unreadable: TypeAlias = Callable[[PublishChunk, Exception], None]


class ChunkQueue:
    """The chunks to publish; used in the event loop only.

    Args:
        read: Reads in a thread.
        ready: Called when a read has ended, so that `take` may return more.
        unreadable: Called with a chunk that cannot be read: its receiver requests it again.
    """

    def __init__(self, read: Read, ready: Callable[[], None], unreadable: Unreadable) -> None:
        self._read, self._ready, self._unreadable = read, ready, unreadable
        self._queue: deque[PublishChunk] = deque()
        self._packets: deque[Packet] = deque()
        self._held: dict[str, deque[PublishChunk]] = {}

    def put(self, chunk: PublishChunk) -> None:
        """Add a chunk."""
        held = self._held.get(chunk.topic)
        (self._queue if held is None else held).append(chunk)

    def take(self) -> Packet | None:
        """Return the next chunk that can be published now, as a packet; None: none."""
        if self._packets:
            return self._packets.popleft()
        while self._queue:
            chunk = self._queue.popleft()
            if (held := self._held.get(chunk.topic)) is not None:
                held.append(chunk)
                continue
            try:
                packet = chunk.packet_now()
            except (FedbusError, OSError) as error:
                self._unreadable(chunk, error)
                continue
            if packet is not None:
                return packet
            self._held[chunk.topic] = deque()
            self._read(chunk.packet, partial(self._was_read, chunk))
        return None

    def _was_read(self, chunk: PublishChunk, done: "Future[Packet]") -> None:
        held = self._held.pop(chunk.topic)
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            self._packets.append(done.result())
        elif isinstance(error, FedbusError | OSError):
            self._unreadable(chunk, error)
        else:
            raise error
        self._queue.extendleft(reversed(held))
        self._ready()
