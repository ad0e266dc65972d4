"""Requests published once to a real broker, while the controller is killed."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path

import pytest

from fedbus.mqtt.bus import Packet
from fedbus.wire.topics import ROOT
from tests.system.process_cluster import CONTROLLER, JOB, MODEL, Plan, ProcessCluster

pytestmark = pytest.mark.system


def job_file() -> bytes:
    """Return a job file of one round with two agents."""
    wish = {"agents": 2, "quorum": 2, "deadline_seconds": 30}
    plain = {"training_id": JOB, "model_name": MODEL, "num_rounds": 1, "round": wish}
    return json.dumps(plain).encode()


async def retained(cluster: ProcessCluster) -> list[Packet]:
    """Return the retained packets of the job: its state and its file."""
    found: list[Packet] = []
    async with cluster.subscribed(f"jobs/{JOB}/request", f"jobs/{JOB}/state") as bus:
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                while True:
                    found += await bus.receive()
    return found


async def test_a_controller_killed_between_receipt_and_store_gets_the_job_again(
    tmp_path: Path,
) -> None:
    """The job is published once and stored once."""
    plan = Plan(seed=1, agents=2, faults={CONTROLLER: "send:StoreJob:1"})
    async with ProcessCluster(tmp_path, plan) as cluster:
        connected = lambda: cluster.log_entries(CONTROLLER, "lease_taken")  # noqa: E731
        await cluster.until("the controller leads", connected)
        await cluster.publish_once("submit", job_file())
        await cluster.restart_after_fault(CONTROLLER, 0.5)
        await cluster.finish(rounds=1)
        # The restarted controller acknowledged it: the next one receives nothing.
        begun = len(cluster.log_entries(CONTROLLER, "job_started"))
        await cluster.restart([CONTROLLER])
        await asyncio.sleep(2.0)
        assert len(cluster.log_entries(CONTROLLER, "job_started")) == begun


async def test_a_retained_job_survives_the_brokers_restart_and_is_cleared(tmp_path: Path) -> None:
    """Published while the controller is dead, and the broker is stopped before it is back."""
    async with ProcessCluster(tmp_path, Plan(seed=2, agents=2)) as cluster:
        await cluster.until("it is there", lambda: cluster.log_entries(CONTROLLER, "bus_connected"))
        cluster.kill(CONTROLLER)
        await cluster.publish_once(f"jobs/{JOB}/request", job_file(), retain=True)
        await asyncio.to_thread(cluster.broker.stop)
        await asyncio.to_thread(cluster.broker.start)
        assert [packet.topic for packet in await retained(cluster)] == [
            f"{ROOT}/jobs/{JOB}/request"
        ]
        await cluster.restart([CONTROLLER])
        await cluster.until("it is over", cluster.ended)
        assert [packet.topic for packet in await retained(cluster)] == [f"{ROOT}/jobs/{JOB}/state"]
        await cluster.finish(rounds=1)
