"""A repository on MongoDB: killed at a write, and with a server that is frozen or killed."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repository.stores.mongo_server import MongoServer
from tests.system.process_cluster import REPOSITORY, Plan, ProcessCluster

pytestmark = pytest.mark.system


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MongoServer]:
    """A MongoDB test server."""
    server = MongoServer(tmp_path / "mongo")
    server.start()
    yield server
    server.kill()


async def test_a_repository_that_is_killed_between_two_documents_goes_on(
    server: MongoServer, tmp_path: Path
) -> None:
    """Its successor waits until its owner document is not renewed any more."""
    faults = {REPOSITORY: "store:recorded:6"}
    plan = Plan(seed=1, store=server.url("fedbus"), faults=faults)
    async with ProcessCluster(tmp_path / "cluster", plan) as cluster:
        await cluster.submit()
        await cluster.restart_after_fault(REPOSITORY, 0.0)
        await cluster.finish()


async def test_a_job_goes_on_after_its_database_was_frozen_and_killed(
    server: MongoServer, tmp_path: Path
) -> None:
    """Requests get no answer meanwhile, so their senders ask again."""
    plan = Plan(seed=2, store=server.url("fedbus"), train_seconds=0.3)
    async with ProcessCluster(tmp_path / "cluster", plan) as cluster:
        await cluster.submit(rounds=4)
        await cluster.until("a round is committed", lambda: cluster.state().round)
        server.freeze()
        await asyncio.sleep(3.0)
        server.thaw()
        await cluster.until("two rounds are committed", lambda: cluster.state().round > 1)
        server.kill()
        await asyncio.sleep(2.0)
        server.start()
        await cluster.finish(4)
