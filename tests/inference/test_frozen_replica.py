"""Two replicas as processes behind one Mosquitto, of which one hangs or stops: all is answered."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

import fedbus
from benchmarks.live_inference import LiveService, digits_repository, live_service
from fedbus.client.asyncio_client import Client
from fedbus.mqtt.bus import BrokerAddress

pytestmark = pytest.mark.system

ROWS = np.random.default_rng(3).integers(0, 17, (40, 64)).astype(np.float32) / 16
MOST_SECONDS = 10.0
"""More than eight repetitions of a request take, on a busy machine."""


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[tuple[BrokerAddress, list[LiveService]]]:
    """Start a repository and two replicas; wait until both have the model."""
    with digits_repository(tmp_path) as broker, contextlib.ExitStack() as stack:
        services = []
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            services.append(stack.enter_context(live_service(folder, broker, name=name)))
        for service in services:
            service.until_ready()
        yield broker, services
        for service in services:
            with contextlib.suppress(ProcessLookupError):
                os.kill(service.process.pid, signal.SIGCONT)


@asynccontextmanager
async def warm_client(broker: BrokerAddress) -> AsyncIterator[Client]:
    """Connect, and ask often enough to know how long an answer takes."""
    async with fedbus.connect(broker.url) as client:
        for row in ROWS[:10]:
            await client.infer("digits", row[None])
        yield client


async def ask_all(client: Client) -> list[int]:
    """Ask for all rows at once; return the version of each answer."""
    async with asyncio.timeout(MOST_SECONDS):
        found = await asyncio.gather(*(client.infer("digits", row[None]) for row in ROWS))
    assert all(each.outputs.shape == (1, 10) for each in found)  # type: ignore[union-attr]  # one
    return [each.version for each in found]


async def test_a_frozen_replica_loses_no_request(
    replicas: tuple[BrokerAddress, list[LiveService]],
) -> None:
    """The broker keeps giving it its share, which clients ask for again elsewhere."""
    broker, (frozen, _) = replicas
    async with warm_client(broker) as client:
        os.kill(frozen.process.pid, signal.SIGSTOP)
        assert await ask_all(client) == [1] * len(ROWS)
        os.kill(frozen.process.pid, signal.SIGCONT)
        assert await ask_all(client) == [1] * len(ROWS)


async def test_a_replica_that_stops_leaves_its_requests_to_the_other(
    replicas: tuple[BrokerAddress, list[LiveService]],
) -> None:
    """It refuses what still arrives, and clients ask again by themselves."""
    broker, (stopping, _) = replicas
    async with warm_client(broker) as client:
        asking = asyncio.create_task(ask_all(client))
        await asyncio.sleep(0)
        stopping.process.terminate()
        assert await asking == [1] * len(ROWS)
        assert await ask_all(client) == [1] * len(ROWS)
