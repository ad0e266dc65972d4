"""A service that is told to stop ends, whatever its connection does at that moment."""

import asyncio
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fedbus.errors import BusError
from fedbus.mqtt.bus import BrokerAddress
from fedbus.runtime import service
from fedbus.runtime.identity import Identity
from fedbus.runtime.node import Node
from fedbus.runtime.reconnection import keep_connected
from fedbus.runtime.service import end
from fedbus.runtime.shell import Shell
from tests.fedbus.runtime.node.harness import Fake

NOWHERE = BrokerAddress(host="127.0.0.1", port=1)


class Breaking:
    """A connection that breaks when it is told to."""

    lacks = ()

    def __init__(self) -> None:
        self.lost = asyncio.Event()

    async def batches(self) -> AsyncIterator[Any]:
        """Bring nothing, and then the loss."""
        await self.lost.wait()
        raise BusError("connection lost")
        yield

    async def publish(self, *packets: object) -> None:
        """Take anything."""

    async def subscribe(self, *topics: str) -> None:
        """Grant anything."""


@pytest.mark.parametrize("turns", range(-8, 9))
async def test_a_stop_while_the_connection_breaks_ends_the_reconnecting(
    turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss replaced the cancellation, and the service reconnected without end."""
    opened: list[Breaking] = []

    @asynccontextmanager
    async def connect(*_: object, **__: object) -> AsyncIterator[Breaking]:
        opened.append(Breaking())
        yield opened[-1]

    monkeypatch.setattr("fedbus.runtime.reconnection.mqtt.connect", connect)
    node = Node(Identity(name="agent.a", incarnation=1, version="0"), Fake(), random.Random(1))
    shell = Shell(node, 1)
    task = asyncio.create_task(keep_connected(shell, NOWHERE, random.Random(1)))
    while not shell.connected:  # noqa: ASYNC110 - a turn of the loop each
        await asyncio.sleep(0)

    def stop() -> None:
        shell.stopping.set()
        task.cancel()

    first: Callable[[], None] = opened[0].lost.set
    then: Callable[[], None] = stop
    if turns < 0:
        first, then = then, first
    first()
    for _ in range(abs(turns)):
        await asyncio.sleep(0)
    then()
    done, _ = await asyncio.wait([task], timeout=1.0)
    assert done
    assert len(opened) == 1
    shell.close()


async def test_a_task_that_loses_a_cancellation_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As `wait_for` does in Python 3.11 when what it waits for is done in the same turn."""
    monkeypatch.setattr(service, "CANCEL_AGAIN_SECONDS", 0.01)
    lost = 0

    async def losing() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                lost += 1
                if lost == 3:
                    raise

    task = asyncio.create_task(losing())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end(task)
    assert task.cancelled()
    assert lost == 3


STUCK = """
import asyncio, time
from fedbus.runtime.service import stop_on_signal

async def stuck():
    def stop():
        print("stopping", flush=True)
        time.sleep(60)
    stop_on_signal(stop)
    print("serving", flush=True)
    await asyncio.sleep(60)

asyncio.run(stuck())
"""


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_process_that_does_not_stop(
    first: signal.Signals, second: signal.Signals
) -> None:
    """Both were ignored after the first: only SIGKILL was left."""
    with subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"serving\n"
            process.send_signal(first)
            assert process.stdout.readline() == b"stopping\n"
            process.send_signal(second)
            assert process.wait(10) == -second
        finally:
            process.kill()
