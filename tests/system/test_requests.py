"""Requests published once on a real broker, while the controller is killed with -9."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path

import pytest

from fedbus.mqtt.bus import Packet
from fedbus.wire.topics import ROOT
from tests.system.house import CONTROLLER, JOB, MODEL, House, Plan

pytestmark = pytest.mark.system


def job_file() -> bytes:
    """One round of two agents."""
    wish = {"agents": 2, "quorum": 2, "deadline_seconds": 30}
    plain = {"training_id": JOB, "model_name": MODEL, "num_rounds": 1, "round": wish}
    return json.dumps(plain).encode()


async def retained(house: House) -> list[Packet]:
    """What the broker keeps under the job, its state and its file."""
    found: list[Packet] = []
    async with house.spying(f"jobs/{JOB}/request", f"jobs/{JOB}/state") as bus:
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                while True:
                    found += await bus.receive()
    return found


async def test_a_controller_killed_between_receipt_and_store_gets_the_job_again(
    tmp_path: Path,
) -> None:
    """The broker had its word once, and nobody says it twice; neither is it stored twice."""
    plan = Plan(seed=1, agents=2, faults={CONTROLLER: "send:StoreJob:1"})
    async with House(tmp_path, plan) as house:
        connected = lambda: house.notes(CONTROLLER, "lease_taken")  # noqa: E731
        await house.until("the controller leads", connected)
        await house.publish_once("submit", job_file())
        await house.revive(CONTROLLER, 0.5)
        await house.finish(rounds=1)
        # Its next life acknowledged it: the one after that gets nothing.
        begun = len(house.notes(CONTROLLER, "job_started"))
        await house.restart([CONTROLLER])
        await asyncio.sleep(2.0)
        assert len(house.notes(CONTROLLER, "job_started")) == begun


async def test_a_retained_job_survives_the_brokers_restart_and_is_cleared(tmp_path: Path) -> None:
    """Published while the controller is dead, and the broker is stopped before it is back."""
    async with House(tmp_path, Plan(seed=2, agents=2)) as house:
        await house.until("it is there", lambda: house.notes(CONTROLLER, "bus_connected"))
        house.kill(CONTROLLER)
        await house.publish_once(f"jobs/{JOB}/request", job_file(), retain=True)
        await asyncio.to_thread(house.broker.stop)
        await asyncio.to_thread(house.broker.start)
        assert [packet.topic for packet in await retained(house)] == [f"{ROOT}/jobs/{JOB}/request"]
        await house.restart([CONTROLLER])
        await house.until("it is over", house.ended)
        assert [packet.topic for packet in await retained(house)] == [f"{ROOT}/jobs/{JOB}/state"]
        await house.finish(rounds=1)
