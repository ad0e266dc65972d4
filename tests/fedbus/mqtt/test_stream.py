"""The bytes that leave the socket, as a broker of the test's own reads them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from fedbus.errors import BusError
from fedbus.mqtt import client as mqtt
from fedbus.mqtt import login
from fedbus.mqtt.bus import BrokerAddress, Bus, Packet
from tests.fedbus.mqtt.fakes import CONNACK, cut, listening

SECONDS = 10.0
LONG = 32 * 2**20
"""Bytes of a payload that no kernel's buffers hold: its packet is in mid-air until it is read."""
PUBLISH, PINGREQ, DISCONNECT = 0x30, 0xC0, 0xE0

Certificate = tuple[Path, Path]


@dataclass
class SlowBroker:
    """It answers the login, then reads nothing before `may_read`; then all, up to the end."""

    answer: bytes = CONNACK
    may_read: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    taken: bytearray = field(default_factory=bytearray)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        await reader.read(4096)
        writer.write(self.answer)
        await self.may_read.wait()
        while part := await reader.read(2**20):
            self.taken += part
        self.ended.set()

    async def packets(self) -> list[tuple[int, int]]:
        """Return the first byte and the length of each packet, once the connection is over."""
        async with asyncio.timeout(SECONDS):
            await self.ended.wait()
        return [(packet[0], len(packet)) for packet in cut(bytes(self.taken))]


@pytest.fixture(params=["plain", "tls"])
def certified(request: pytest.FixtureRequest) -> Certificate | None:
    """Every test once without TLS and once with it."""
    found: Certificate | None = (
        request.getfixturevalue("certificate") if request.param == "tls" else None
    )
    return found


@asynccontextmanager
async def connected(
    broker: SlowBroker, certified: Certificate | None, keepalive: int = 60
) -> AsyncIterator[Bus]:
    """Log in to a slow broker."""
    async with (
        listening(broker.handle, certified) as address,
        mqtt.connect(address, name="agent.a", keepalive=keepalive) as bus,
    ):
        try:
            yield bus
        finally:
            broker.may_read.set()


async def begin(bus: Bus, payload: Any) -> "asyncio.Task[None]":  # noqa: ANN401 - as mypy has no name for a buffer
    """Start a publication and return its task in the middle of it."""
    task = asyncio.create_task(bus.publish(Packet("x", payload)), name="publisher")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_a_ping_never_lands_inside_a_chunk(certified: Certificate | None) -> None:
    """It is due while the chunk waits for the socket, and is written behind it."""
    broker = SlowBroker()
    async with connected(broker, certified, keepalive=2) as bus:
        task = await begin(bus, bytes(LONG))
        async with asyncio.timeout(SECONDS):
            while not bus._connection._paho.want_write():  # type: ignore[attr-defined]  # noqa: ASYNC110, SLF001 - paho has no event for what it has to say
                await asyncio.sleep(0.05)
            broker.may_read.set()
            await task
    assert await broker.packets() == [(PUBLISH, LONG + 9), (PINGREQ, 2), (DISCONNECT, 2)]


async def test_a_publisher_cancelled_in_mid_chunk_leaves_the_stream_whole(
    certified: Certificate | None,
) -> None:
    """With the bytes it was given, whatever their owner does with them afterwards."""
    broker, payload = SlowBroker(), bytearray(b"\1" * LONG)
    async with connected(broker, certified) as bus:
        task = await begin(bus, payload)
        task.cancel()
        assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], BaseException)
        payload[:] = bytes(LONG)
        broker.may_read.set()
        async with asyncio.timeout(SECONDS):
            await bus.publish(Packet("y", b"next"))
    sizes = await broker.packets()
    assert sizes == [(PUBLISH, LONG + 9), (PUBLISH, 10), (DISCONNECT, 2)]
    assert bytes(broker.taken[9 : LONG + 9]) == b"\1" * LONG


async def test_the_goodbye_comes_after_a_chunk(certified: Certificate | None) -> None:
    """Who leaves in the middle of one has it written to its end."""
    broker = SlowBroker()
    async with connected(broker, certified) as bus:
        task = await begin(bus, bytes(LONG))
    with pytest.raises(BusError, match="this connection was left"):
        await task
    assert await broker.packets() == [(PUBLISH, LONG + 9), (DISCONNECT, 2)]


@pytest.mark.parametrize(
    "packet",
    [
        Packet("fedbus/v1/t", b""),
        Packet("fedbus/v1/t", b"", content_type="application/json", correlation=b"12", expiry=9),
    ],
    ids=["bare", "with properties"],
)
async def test_the_announced_packet_limit_holds_to_the_byte(packet: Packet) -> None:
    """A packet of that many bytes is sent, one of a byte more is refused before it is."""
    limit = login.LEAST_PACKET
    broker = SlowBroker(b"\x20\x08\0\0\5\x27" + limit.to_bytes(4))
    async with connected(broker, None) as bus:
        broker.may_read.set()
        with pytest.raises(BusError, match=rf"takes at most {limit} "):
            await grow(bus, packet, limit - 64)
    sent = [size for head, size in await broker.packets() if head == PUBLISH]
    assert max(sent) == limit
    assert sent == list(range(sent[0], limit + 1))


async def grow(bus: Bus, packet: Packet, size: int) -> None:
    """Publish a packet with payloads of this length, and a byte more each time."""
    while True:
        await bus.publish(replace(packet, payload=bytes(size)))
        size += 1


async def test_a_broker_whose_answer_to_a_ping_waits_behind_a_chunk_is_alive() -> None:
    """Bytes arrive from it; one that sends none is given up."""

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(CONNACK + b"\x30\xff\xff\x03\0\1x\0")
        while not reader.at_eof():
            writer.write(b"-" * 16)
            await writer.drain()
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await reader.read(4096)

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(CONNACK)
        await reader.read()

    async def hold(address: BrokerAddress) -> None:
        async with mqtt.connect(address, name="agent.a", keepalive=1) as bus:
            await bus.receive()

    async with listening(silence) as silent, listening(trickle) as slow:
        lives = asyncio.create_task(hold(slow), name="alive")
        async with asyncio.timeout(SECONDS):
            with pytest.raises(BusError, match=r"connection lost \(Keep alive timeout\)"):
                await hold(silent)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lives, 1.5)
