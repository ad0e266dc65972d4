"""Packets that have arrived and wait to be received."""

import asyncio
from collections import deque
from collections.abc import Callable

from fedbus.mqtt.bus import Packet

OVERHEAD = 512  # bytes a packet takes here beside its payload


class Inbox:
    """A queue bounded by bytes, taken whole, that ends with the error that ended its connection.

    It never refuses a packet: its reader looks at `full`, stops, and goes on at `on_room`.
    """

    def __init__(self, limit: int, on_room: Callable[[], None]) -> None:
        self._packets: deque[Packet] = deque()
        self._bytes = 0
        self._limit = limit
        self._on_room = on_room
        self._stir = asyncio.Event()
        self._end: Exception | None = None

    def __len__(self) -> int:
        return len(self._packets)

    @property
    def full(self) -> bool:
        """Whether it holds more than it should."""
        return self._bytes > self._limit

    def put(self, packet: Packet) -> None:
        """Add a packet; follow with `stir` once there is none to add."""
        self._packets.append(packet)
        self._bytes += len(packet.payload) + OVERHEAD

    def stir(self) -> None:
        """Wake the task that waits."""
        self._stir.set()

    def end(self, error: Exception) -> None:
        """Raise this error in takers once they have taken what is left."""
        self._end = self._end or error
        self._stir.set()

    def close(self, error: Exception) -> None:
        """Hold on to nothing: what is left is dropped, and takers get this error."""
        self._packets.clear()
        self._bytes, self._on_room, self._end = 0, lambda: None, error
        self._stir.set()

    async def take(self) -> Packet:
        """Take the oldest packet."""
        await self._something()
        packet = self._packets.popleft()
        self._taken(len(packet.payload) + OVERHEAD)
        return packet

    async def take_all(self) -> list[Packet]:
        """Take all packets, one at least."""
        await self._something()
        packets = list(self._packets)
        self._packets.clear()
        self._taken(self._bytes)
        return packets

    async def _something(self) -> None:
        while not self._packets:
            if self._end is not None:
                raise self._end
            self._stir.clear()
            await self._stir.wait()

    def _taken(self, size: int) -> None:
        was_full = self.full
        self._bytes -= size
        if was_full and not self.full:
            self._on_room()
