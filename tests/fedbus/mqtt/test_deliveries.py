"""Publications of QoS 1 until the broker has acknowledged them."""

import asyncio

import pytest

from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import Packet
from fedbus.mqtt.deliveries import MAX_IDENTIFIER, Deliveries
from fedbus.mqtt.frames import Frame
from tests.fedbus.mqtt.fakes import cut, listening


def puback(identifier: int) -> Frame:
    """Write an acknowledgement."""
    return Frame(0x40, memoryview(identifier.to_bytes(2) + b"\x10"))


async def test_an_identifier_that_is_in_use_is_not_given_again() -> None:
    """Not even once all others have been given."""
    deliveries = Deliveries()
    held, future = deliveries.start()
    others = set()
    for _ in range(MAX_IDENTIFIER - 1):
        identifier, _ = deliveries.start()
        deliveries.forget(identifier)
        others.add(identifier)
    again, _ = deliveries.start()
    assert (len(others), held in others, again == held) == (MAX_IDENTIFIER - 1, False, False)
    deliveries.acknowledged(puback(held))
    assert await future == 0x10


async def test_an_acknowledgement_that_comes_late_or_twice_changes_nothing() -> None:
    """Its delivery was cancelled, or has its answer."""
    deliveries = Deliveries()
    identifier, future = deliveries.start()
    deliveries.acknowledged(puback(identifier))
    deliveries.acknowledged(puback(identifier))
    deliveries.forget(identifier)
    deliveries.acknowledged(puback(identifier))
    assert await future == 0x10


@pytest.mark.parametrize("most", [1, 3])
async def test_no_more_are_under_way_than_the_broker_takes(most: int) -> None:
    """One more would cost the connection (0x93, Receive Maximum exceeded)."""
    under_way: list[int] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(b"\x20\x06\0\0\3\x21" + most.to_bytes(2))
        waiting: list[bytes] = []
        while part := await reader.read(4096):
            waiting += [packet for packet in cut(part) if packet[0] == 0x32]
            under_way.append(len(waiting))
            if len(waiting) == most or sum(under_way) > 2 * most:
                for packet in waiting:
                    writer.write(b"\x40\x02" + packet[5:7])
                waiting.clear()

    async with (
        listening(handle) as address,
        asyncio.timeout(5),
        mqtt.connect(address, name="u") as bus,
        asyncio.TaskGroup() as tasks,
    ):
        for _ in range(3 * most):
            tasks.create_task(bus.deliver(Packet("t", b"x")), name="delivery")
    assert max(under_way) == most
