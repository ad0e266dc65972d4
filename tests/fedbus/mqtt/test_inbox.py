"""The queue between the network and the task that receives."""

import asyncio

import pytest

from fedbus.errors import BusError
from fedbus.mqtt.bus import Packet
from fedbus.mqtt.inbox import OVERHEAD, Inbox


def packets(count: int) -> list[Packet]:
    """Make packets that can be told apart."""
    return [Packet(str(i), b"1234") for i in range(count)]


def filled(count: int, limit: int = 10**6) -> Inbox:
    """Make an inbox with that many packets."""
    inbox = Inbox(limit, on_room=lambda: None)
    for packet in packets(count):
        inbox.put(packet)
    return inbox


async def test_packets_are_taken_all_at_once_or_one_by_one_in_order() -> None:
    """Nothing is lost between the two."""
    inbox = filled(5)
    assert [await inbox.take(), await inbox.take()] == packets(5)[:2]
    assert await inbox.take_all() == packets(5)[2:]
    assert len(inbox) == 0


async def test_taker_waits_until_it_is_stirred() -> None:
    """One wake-up serves all packets put before it."""
    inbox = filled(0)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        taker = tasks.create_task(inbox.take_all(), name="taker")
        await asyncio.sleep(0)
        for packet in packets(3):
            inbox.put(packet)
        inbox.stir()
    assert taker.result() == packets(3)


async def test_cancelled_taker_loses_nothing() -> None:
    """A packet that was not taken is there for the next."""
    inbox = filled(0)
    taker = asyncio.create_task(inbox.take(), name="taker")
    await asyncio.sleep(0)
    inbox.put(packets(1)[0])
    inbox.stir()
    taker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taker
    assert await inbox.take_all() == packets(1)


async def test_end_comes_after_what_had_arrived_and_stays() -> None:
    """A lost connection is told of last, and the first reason is the one that counts."""
    inbox = filled(1)
    inbox.end(BusError("first"))
    inbox.end(BusError("second"))
    assert await inbox.take_all() == packets(1)
    for _ in range(2):
        with pytest.raises(BusError, match="first"):
            await inbox.take()


async def test_room_is_announced_once_it_is_full_no_more() -> None:
    """Its reader stops at `full` and goes on when told."""
    told: list[int] = []
    inbox = Inbox(2 * (OVERHEAD + 4), on_room=lambda: told.append(len(inbox)))
    for packet in packets(2):
        inbox.put(packet)
    assert not inbox.full
    inbox.put(Packet("one too many", b""))
    assert inbox.full
    await inbox.take()
    await inbox.take()
    assert told == [2]
