"""Connections to a broker in memory, for nodes that run in one process and need no broker."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from fedbus.errors import BusError
from fedbus.mqtt.bus import Packet
from fedbus.mqtt.memory_broker import MemoryBroker
from fedbus.wire import topics


class MemoryBus:
    """One node's connection: a `Bus`. It is closed when another one of its name is opened."""

    lacks: tuple[str, ...] = ()

    def __init__(self, broker: MemoryBroker, name: str) -> None:
        self._broker = broker
        self._name = name
        self._arrived: deque[Packet] = deque()
        self._wake = asyncio.Event()
        self._closed = False

    def arrive(self, packet: Packet) -> None:
        """Take a packet that the broker delivers."""
        self._arrived.append(packet)
        self._wake.set()

    def close(self) -> None:
        """Close the connection: what waits for a packet raises BusError."""
        self._closed = True
        self._wake.set()

    async def publish(self, *packets: Packet) -> None:
        """Deliver packets to those who follow their topics."""
        self._check_open()
        for packet in packets:
            # Lent memory is released by each receiver, so all of them cannot have the same.
            self._broker.publish(self._name, replace(packet, payload=bytes(packet.payload)))
        await asyncio.sleep(0)  # the receivers' turn

    def publish_now(self, *packets: Packet) -> bool:  # noqa: ARG002 - as every bus
        """Return False: the receivers get a turn after each publication."""
        return False

    async def deliver(self, packet: Packet) -> bool:
        """Publish a packet, and return that the broker has taken it over."""
        await self.publish(packet)
        return True

    async def acknowledge(self, receipt: int) -> None:
        """Acknowledge a packet that the broker keeps."""
        self._broker.acknowledge(self._name, receipt)

    async def subscribe(self, topic: str) -> None:
        """Receive what is published here from now on, and what is retained."""
        self._check_open()
        self._broker.subscribe(self._name, topic)

    async def unsubscribe(self, topic: str) -> None:
        """Receive no more of it."""
        self._check_open()
        self._broker.unsubscribe(self._name, topic)

    async def receive(self) -> list[Packet]:
        """Wait for a packet, then take all that have arrived."""
        while not self._arrived:
            self._check_open()
            self._wake.clear()
            await self._wake.wait()
        found = list(self._arrived)
        self._arrived.clear()
        return found

    async def batches(self) -> AsyncIterator[list[Packet]]:
        """Yield what has arrived, again and again, until BusError."""
        while True:
            yield await self.receive()

    async def __aiter__(self) -> AsyncIterator[Packet]:
        """Yield one packet at a time, until BusError."""
        async for packets in self.batches():
            for packet in packets:
                yield packet

    def _check_open(self) -> None:
        if self._closed:
            raise BusError(f"{self._name}: the connection in memory is closed")


class MemoryNetwork:
    """A broker in memory with the real access rules, and the connections to it."""

    def __init__(self, root: str = topics.ROOT) -> None:
        self._broker = MemoryBroker(self._deliver, root)
        self._buses: dict[str, MemoryBus] = {}

    def connect(
        self, name: str, listen: Sequence[str], keep: Sequence[str] = (), will: Packet | None = None
    ) -> MemoryBus:
        """Open a connection that follows topics; what is retained there has arrived already."""
        if before := self._buses.get(name):
            before.close()
        self._buses[name] = bus = MemoryBus(self._broker, name)
        self._broker.connect(name, list(listen), will, list(keep))
        return bus

    def disconnect(self, name: str) -> None:
        """Close a connection."""
        if bus := self._buses.pop(name, None):
            bus.close()
            self._broker.disconnect(name)

    def _deliver(self, name: str, packet: Packet) -> None:
        if bus := self._buses.get(name):
            bus.arrive(packet)
