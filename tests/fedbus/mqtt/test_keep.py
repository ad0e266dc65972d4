"""A real Mosquitto: messages kept for a name that is away, and its answers to deliveries."""

import asyncio

import pytest

from fedbus.errors import BusError
from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import Bus, Packet
from fedbus.mqtt.mosquitto import LocalBroker

SUBMIT = "fedbus/v1/submit"
SECONDS = 10.0


async def receive(bus: Bus, count: int) -> list[Packet]:
    """Receive this many packets, within the tests' patience."""
    packets: list[Packet] = []
    async with asyncio.timeout(SECONDS):
        while len(packets) < count:
            packets += await bus.receive()
    return packets


async def publish(broker: LocalBroker, *payloads: bytes) -> bool:
    """Publish once, as a person does; return whether a client subscribes."""
    async with mqtt.connect(broker.address("user.cli"), name="user.cli") as user:
        return all([await user.deliver(Packet(SUBMIT, payload)) for payload in payloads])


async def test_what_is_published_for_who_is_away_comes_when_he_is_back(
    own_broker: LocalBroker,
) -> None:
    """Again on every connection until it is acknowledged, with its properties; then no more."""
    controller = own_broker.address("controller.1")
    assert not await publish(own_broker, b"no session yet")
    async with mqtt.connect(controller, name="controller.1", keep=[SUBMIT]) as bus:
        assert bus.lacks == ()
    assert await publish(own_broker, b"1", b"2")
    async with mqtt.connect(controller, name="controller.1", keep=[SUBMIT]) as bus:
        first, second = await receive(bus, 2)
        assert (first.payload, second.payload) == (b"1", b"2")
        assert (first.redelivered, second.redelivered) == (False, False)
        assert first.receipt is not None
        await bus.acknowledge(first.receipt)
    async with mqtt.connect(controller, name="controller.1", keep=[SUBMIT]) as bus:
        (again,) = await receive(bus, 1)
        assert (again.payload, again.redelivered) == (b"2", True)
        assert again.receipt is not None
        await bus.acknowledge(again.receipt)
        assert await publish(own_broker, b"3")
        assert [packet.payload for packet in await receive(bus, 1)] == [b"3"]


async def test_what_is_kept_survives_a_broker_that_is_stopped(own_broker: LocalBroker) -> None:
    """Its session and what waits for it lie on the disk; a killed one has what it saved."""
    controller = own_broker.address("controller.1")
    async with mqtt.connect(controller, name="controller.1", keep=[SUBMIT]):
        pass
    await publish(own_broker, b"1")
    await asyncio.to_thread(own_broker.stop)
    await asyncio.to_thread(own_broker.start)
    async with mqtt.connect(controller, name="controller.1", keep=[SUBMIT]) as bus:
        assert [packet.payload for packet in await receive(bus, 1)] == [b"1"]


async def test_large_packets_that_wait_behind_the_login_are_read_whole(
    own_broker: LocalBroker,
) -> None:
    """They come with its answer, before the session has subscribed again."""
    controller = own_broker.address("controller.1")
    async with mqtt.connect(controller, name="controller.1", keep=[SUBMIT]):
        pass
    files = [bytes([n]) * 200_000 for n in range(15)]
    await publish(own_broker, *files)
    async with mqtt.connect(controller, name="controller.1", keep=[SUBMIT], lend=True) as bus:
        assert [bytes(packet.payload) for packet in await receive(bus, 15)] == files


async def test_a_delivery_that_is_not_allowed_is_an_error(broker: LocalBroker) -> None:
    """QoS 0 would be dropped in silence."""
    async with mqtt.connect(broker.address("user.cli"), name="user.cli") as user:
        with pytest.raises(BusError, match=r"publishing to fedbus/v1/jobs/a/state refused: Not"):
            await user.deliver(Packet("fedbus/v1/jobs/a/state", b"{}"))
        with pytest.raises(BusError, match="without a topic"):
            await user.deliver(Packet("", b""))


async def test_retained_packets_are_marked(own_broker: LocalBroker) -> None:
    """Those that were there before; what is published now is not, whatever its flag."""
    controller = own_broker.address("controller.1")
    user = own_broker.address("user.cli")
    async with mqtt.connect(user, name="user.cli") as person:
        await person.publish(Packet(SUBMIT, b"old", retain=True))
        async with mqtt.connect(controller, name="controller.1", keep=[SUBMIT]) as bus:
            (old,) = await receive(bus, 1)
            assert (old.payload, old.retain) == (b"old", True)
            await person.publish(Packet(SUBMIT, b"new", retain=True))
            (new,) = await receive(bus, 1)
            assert (new.payload, new.retain) == (b"new", False)
