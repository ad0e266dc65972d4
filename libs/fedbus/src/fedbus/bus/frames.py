"""MQTT control packets out of a stream of bytes (MQTT 5, section 2.1), copied once or never. Pure.

A packet is a byte that says its kind, the length of the rest in seven bits a byte, and the rest.
paho asks its socket for these parts one at a time, then cuts a publication up by copying it three
times over, which was a third of all that an agent did in a round.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

ROOM = 64 * 1024
"""Bytes there is always room for: what a socket gives at once is more than small packets need."""
KEPT = 2 * 2**20
"""Bytes that are kept for packets to come, however long one was."""
LENT_MOST = 4
_REFERENCES, _FREE = 2, 3
"""To a buffer of which nobody has a view: of whoever holds it and whoever counts."""
CONNACK, PUBLISH, PUBACK = 0x20, 0x30, 0x40
QOS_1, _QOS_2, _KIND = 0x02, 0x04, 0xF0
_LONGEST_LENGTH = 4


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
    """Where bytes are received into, and come out of as control packets."""

    def __init__(self) -> None:
        self._buffer = bytearray(2 * ROOM)
        self._lent: list[bytearray] = []
        self._start = self._end = 0

    def room(self) -> memoryview:
        """Give the place for what comes next, some of it at least `ROOM` bytes long.

        It grows as bytes arrive, never by what a packet announces of itself.
        """
        left, size = self._end - self._start, len(self._buffer)
        lent = sys.getrefcount(self._buffer) > _REFERENCES
        if (left or lent) and size - self._end >= ROOM:
            return memoryview(self._buffer)[self._end :]
        old = memoryview(self._buffer)[self._start : self._end]
        if size - left < ROOM or (left >= ROOM and size < KEPT):
            # Also where packets are long, so that they are seldom moved.
            self._buffer = bytearray(2 * size)
        elif size > KEPT and not left:
            self._buffer = bytearray(2 * ROOM)
        elif lent:
            self._buffer = self._other(size)
        view = memoryview(self._buffer)
        view[:left] = old  # a memoryview minds that the two may overlap
        self._start, self._end = 0, left
        return view[left:]

    def _other(self, size: int) -> bytearray:
        """Find a buffer of which nobody has a view any more, or make one."""
        self._lent = [each for each in self._lent if len(each) == size][-LENT_MOST:]
        free = next((each for each in self._lent if sys.getrefcount(each) <= _FREE), None)
        if free is None:
            free = bytearray(size)
        else:
            self._lent = [each for each in self._lent if each is not free]
        self._lent.append(self._buffer)
        return free

    def close(self) -> None:
        """Give the room back: nothing more is received."""
        self._buffer, self._lent = bytearray(), []
        self._start = self._end = 0

    def received(self, count: int) -> Iterator[Frame]:
        """Take all whole packets, now that `count` bytes more are in the room.

        Raises:
            ValueError: a length that does not end: this is not MQTT.
        """
        self._end += count
        view = memoryview(self._buffer)
        while (found := self._next()) is not None:
            start, end = found
            head = self._buffer[self._start]
            self._start = end
            yield Frame(head, view[start:end])

    def _next(self) -> tuple[int, int] | None:
        """Find where the next packet's body begins and ends; None if it is not all here."""
        length = 0
        for i in range(_LONGEST_LENGTH):
            at = self._start + 1 + i
            if at >= self._end:
                return None
            byte = self._buffer[at]
            length |= (byte & 0x7F) << 7 * i
            if byte < 0x80:  # noqa: PLR2004 - the last has no eighth bit
                end = at + 1 + length
                return (at + 1, end) if end <= self._end else None
        raise ValueError("a packet whose length does not end")
