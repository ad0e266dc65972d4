"""MQTT control packets out of a stream of bytes (MQTT 5, section 2.1), copied once or never. Pure.

A packet is a byte that names its kind, the length of the rest in seven bits a byte, and the rest.
paho asks its socket for these parts one at a time, then copies a publication three times, which was
a third of all that an agent did in a round.

A large payload is lent: a memoryview of the read buffer. The view is the lease, and its holder
releases it (`Packet.release`). Bytes are received into a buffer again only when no view of it is
left (`lending.py`): one that is never released costs its buffer, and never shows other bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from fedbus.lent_memory import is_lent

ROOM_BYTES = 64 * 1024
"""Free bytes at the end of a buffer: what a socket returns at once is more than small packets need.
"""
KEPT_BYTES = 2 * 2**20
"""The largest buffer that is kept for packets to come, however long one was."""
MAX_LENT = 4
"""Buffers with views that are waited for; one more is left to its views."""
CONNACK, PUBLISH, PUBACK = 0x20, 0x30, 0x40
QOS_1, _QOS_2, _KIND = 0x02, 0x04, 0xF0
_MAX_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Frame:
    """One control packet; the body is only there until more is received."""

    head: int
    body: memoryview

    @property
    def is_publication(self) -> bool:
        """Whether it is a PUBLISH of QoS 0 or 1, which `publications.py` reads."""
        return self.head & (_KIND | _QOS_2) == PUBLISH


class Frames:
    """Cut a stream into control packets: bytes are received into `room`, and `received` yields."""

    def __init__(self) -> None:
        self._buffer = bytearray(2 * ROOM_BYTES)
        self._lent: list[bytearray] = []
        self._start = self._end = 0

    def room(self) -> memoryview:
        """Return the place for the bytes that come next, at least `ROOM_BYTES` long.

        It grows as bytes arrive, never by what a packet announces of itself.
        """
        left, size = self._end - self._start, len(self._buffer)
        lent = is_lent(self._buffer)
        if (left or lent) and size - self._end >= ROOM_BYTES:
            return memoryview(self._buffer)[self._end :]
        with memoryview(self._buffer) as old:
            if size - left < ROOM_BYTES or (left >= ROOM_BYTES and size < KEPT_BYTES):
                # Also where packets are long, so that they are rarely moved.
                self._buffer = bytearray(2 * size)
            elif size > KEPT_BYTES and not left:
                self._buffer = bytearray(2 * ROOM_BYTES)
            elif lent:
                self._buffer = self._other(size)
            view = memoryview(self._buffer)
            view[:left] = old[self._start : self._end]  # a memoryview allows for the overlap
        self._start, self._end = 0, left
        return view[left:]

    def _other(self, size: int) -> bytearray:
        """Return a buffer of which no view is left; a new one if there is none."""
        self._lent = [each for each in self._lent if len(each) == size][-MAX_LENT:]
        free = next((at for at, each in enumerate(self._lent) if not is_lent(each)), None)
        found = bytearray(size) if free is None else self._lent.pop(free)
        self._lent.append(self._buffer)
        return found

    def close(self) -> None:
        """Free the buffers: nothing more is received."""
        self._buffer, self._lent = bytearray(), []
        self._start = self._end = 0

    def received(self, count: int) -> Iterator[Frame]:
        """Yield all whole packets, now that `count` bytes more are in the room.

        Raises:
            ValueError: a length that does not end: this is not MQTT.
        """
        self._end += count
        with memoryview(self._buffer) as view:
            while (found := self._next()) is not None:
                start, end = found
                head = self._buffer[self._start]
                self._start = end
                yield Frame(head, view[start:end])

    def _next(self) -> tuple[int, int] | None:
        """Return where the next packet's body begins and ends; None if it is not all here."""
        length = 0
        for i in range(_MAX_LENGTH_BYTES):
            at = self._start + 1 + i
            if at >= self._end:
                return None
            byte = self._buffer[at]
            length |= (byte & 0x7F) << 7 * i
            if byte < 0x80:  # noqa: PLR2004 - the last has no eighth bit
                end = at + 1 + length
                return (at + 1, end) if end <= self._end else None
        raise ValueError("a packet whose length does not end")
