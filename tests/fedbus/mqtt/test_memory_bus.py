"""Connections to a broker in memory, as nodes of one process use them."""

import asyncio

import pytest

from fedbus.errors import BusError
from fedbus.mqtt.bus import Packet
from fedbus.mqtt.memory_bus import MemoryNetwork

MINE = "fedbus/v1/link/repository.1/inference.1/+"
TOPIC = "fedbus/v1/link/repository.1/inference.1/ModelShown"
LATEST = "fedbus/v1/models/digits/latest"


async def test_packets_reach_those_who_follow_their_topic() -> None:
    """In their order, with memory of their own; what is retained comes to later followers."""
    network = MemoryNetwork()
    one = network.connect("inference.1", [MINE])
    two = network.connect("repository.1", [])
    lent = bytearray(b"lent")
    assert await two.deliver(Packet(TOPIC, memoryview(lent)))  # type: ignore[arg-type]  # see Packet
    await two.publish(Packet(TOPIC, b"2"), Packet(LATEST, b"{}", retain=True))
    lent[:] = b"gone"
    assert [packet.payload for packet in await one.receive()] == [b"lent", b"2"]
    await one.subscribe(LATEST)
    async for packet in one:
        assert (packet.topic, packet.retain) == (LATEST, True)
        break
    await one.unsubscribe(LATEST)
    await two.publish(Packet(LATEST, b"[]", retain=True), Packet(TOPIC, b"3"))
    assert [packet.payload for packet in await one.receive()] == [b"3"]
    await one.acknowledge(7)


async def test_a_closed_connection_raises() -> None:
    """Also what waits for a packet; a new connection of its name closes the one before."""
    network = MemoryNetwork()
    one = network.connect("inference.1", [MINE])
    waiting = asyncio.create_task(one.receive())
    await asyncio.sleep(0)
    network.connect("inference.1", [MINE])
    with pytest.raises(BusError, match=r"inference\.1: the connection in memory is closed"):
        await waiting
    with pytest.raises(BusError):
        await one.publish(Packet(TOPIC, b""))
    network.disconnect("inference.1")
    network.disconnect("inference.1")
    await network.connect("repository.1", []).publish(Packet(TOPIC, b""))
