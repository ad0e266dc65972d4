"""Packets that are sent at once: only where none waits, whole and in order."""

import asyncio
from pathlib import Path

import pytest

from fedbus.errors import BusError
from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import BrokerAddress, Packet
from fedbus.mqtt.memory_bus import MemoryNetwork
from fedbus.mqtt.mosquitto import LocalBroker

SECONDS = 20.0
LARGE = [Packet("elsewhere", bytes(900_000))] * 40
"""More than a socket takes at once."""


@pytest.mark.system
async def test_packets_are_sent_at_once_until_one_waits(tmp_path: Path) -> None:
    """What the socket does not take is written later, and others wait behind it."""
    with LocalBroker(tmp_path / "broker") as local:
        await check_packets_sent_at_once(local.address())


async def check_packets_sent_at_once(broker: BrokerAddress) -> None:
    """Send small packets, one that fills the socket, and others behind it."""
    async with (
        mqtt.connect(broker, name="user.now", listen=["now/+"]) as bus,
        asyncio.timeout(SECONDS),
    ):
        assert bus.publish_now(Packet("now/a", b"1"), Packet("now/b", b"2"))
        assert bus.publish_now(*LARGE)
        assert not bus.publish_now(Packet("now/d", b"4"))
        await bus.publish(Packet("now/e", b"5"))
        got: list[Packet] = []
        while len(got) < 3:
            got += await bus.receive()
        assert [packet.topic for packet in got] == ["now/a", "now/b", "now/e"]
        with pytest.raises(BusError, match="a packet without a topic"):
            bus.publish_now(Packet("", b""))
    with pytest.raises(BusError):
        bus.publish_now(Packet("now/a", b""))


def test_a_bus_in_memory_sends_nothing_at_once() -> None:
    """Each publication there gives the receivers a turn."""

    async def refused() -> bool:
        bus = MemoryNetwork().connect("user.me", [])
        return bus.publish_now(Packet("now/a", b"1"))

    assert asyncio.run(refused()) is False
