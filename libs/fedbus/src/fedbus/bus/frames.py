"""MQTT control packets out of a stream of bytes (MQTT 5, section 2.1), copied once or never. Pure.

A packet is a byte that says its kind, the length of the rest in seven bits a byte, and the rest.
paho asks its socket for these parts one at a time, then cuts a publication up by copying it three
times over, which was a third of all that an agent did in a round.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from fedbus.bus.base import Packet
from fedbus.bus.properties import unpack

ROOM = 64 * 1024
"""Bytes there is always room for: what a socket gives at once is more than small packets need."""
KEPT = 2 * 2**20
"""Bytes that are kept for packets to come, however long one was."""
LEND_FROM = 32 * 1024
"""A payload of so many bytes is lent, to those who want that: a view of what was received."""
LENT_MOST = 4
_REFERENCES, _FREE = 2, 3
"""To a buffer of which nobody has a view: of whoever holds it and whoever counts."""
_PUBLISH = 0x30
_KIND, _QOS_1, _QOS_2, _RETAIN, _DUP = 0xF0, 0x02, 0x04, 0x01, 0x08
_LONGEST_LENGTH = 4


@dataclass(frozen=True, slots=True)
class Frame:
    """One control packet; the body is only there until more is received."""

    head: int
    body: memoryview

    @property
    def is_publication(self) -> bool:
        """Whether it is a PUBLISH of quality of service 0 or 1, which `publication` reads."""
        return self.head & (_KIND | _QOS_2) == _PUBLISH


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


def publication(frame: Frame, *, lend: bool = False) -> Packet | None:
    """Read a publication; None if its topic is no text: nobody subscribed to that.

    With `lend` a large payload is a memoryview, and its buffer is used again once that is gone. Of
    quality of service 1 it has a receipt, its packet identifier, and the mark of a redelivery.

    Raises:
        ValueError: it ends inside its topic or its properties.
    """
    body = frame.body
    size = int.from_bytes(body[:2])
    if 2 + size > len(body):
        raise ValueError(f"a topic of {size} bytes in a packet of {len(body)}")
    end, receipt = 2 + size, None
    if frame.head & _QOS_1:
        if end + 2 > len(body):
            raise ValueError(f"no packet identifier in a packet of {len(body)} bytes")
        receipt = int.from_bytes(body[end : end + 2])
        end += 2
    said, used = unpack(body[end:])
    try:
        topic = str(body[2 : 2 + size], "utf-8")
    except UnicodeDecodeError:
        return None
    content = body[end + used :]
    payload = cast("bytes", content) if lend and len(content) >= LEND_FROM else bytes(content)
    if not said and receipt is None:  # as nearly always
        return Packet(topic, payload, bool(frame.head & _RETAIN))
    return Packet(
        topic,
        payload,
        bool(frame.head & _RETAIN),
        said.get("ContentType"),
        said.get("ResponseTopic"),
        said.get("CorrelationData"),
        said.get("MessageExpiryInterval"),
        receipt,
        bool(frame.head & _DUP),
    )
