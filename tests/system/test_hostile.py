"""Agents that send what must not count: it does not, the record says why, and the job finishes."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import Bus, Packet
from fedbus.wire.topics import ROOT
from tests.system.hostile_agent import WRONG
from tests.system.house import COLLECTOR, JOB, MODEL, REPOSITORY, House, Plan
from tests.system.seeds import chance_of, storm

pytestmark = [pytest.mark.system, pytest.mark.storm]

THIEF = "agent.thief"
SIGN = b"stolen"
ALLOWED = f"link/{THIEF}/{COLLECTOR}/offer"
"""Its own topic: it arrives, and is misread."""
SILENT = "no update by the deadline"
REASONS = {
    "shape": "expected an update of",
    "layout": "where the model's is",
    "plain": "a plain blob where a delta one belongs",
    "nan": "tensor",
    "infinity": "tensor",
    "digest": "not those of its digest",
    "short": SILENT,
    "base": "trained from version",
    "round": "for round",
    "foreign": SILENT,
    "replay": SILENT,
    "future": SILENT,
}
BY_THEN = {"future": "trained from version"}
"""What is said in the second round, where it is not the same."""
DENIED = (
    f"link/agent.a0/{COLLECTOR}/offer",
    f"link/agent.a0/{COLLECTOR}/chunk",
    f"link/{COLLECTOR}/agent.a0/receipt",
    "link/controller.1/agent.a0/stop-job",
    "nodes/agent.a0/state",
    "nodes/agent.a0/heartbeat",
    f"jobs/{JOB}/state",
    f"jobs/{JOB}/rounds/1",
    f"models/{MODEL}/latest",
    f"blobs/{REPOSITORY}/{'0' * 64}",
    "replies/test",
    "submit",
    "cancel",
)


@storm
async def test_wrong_updates_are_refused_with_reasons(seed: int, tmp_path: Path) -> None:
    """Each of them says what was wrong in the round's record; those of honest agents count."""
    chance = chance_of("hostile", seed)
    wrong = chance.sample(WRONG, 6)
    hostile = {f"agent.h{number}": kind for number, kind in enumerate(wrong)}
    async with House(tmp_path, Plan(seed=seed, hostile=hostile)) as house:
        house.note(str(hostile))
        await house.submit(rounds=2, deadline_seconds=6)
        await house.finish(rounds=2)
        for number in (1, 2):
            round_ = house.rounds[JOB, number]
            # The first time, what is replayed later is what was asked.
            wrong_now = {a: k for a, k in hostile.items() if (k, number) != ("replay", 1)}
            assert not wrong_now.keys() & {*round_.contributors}
            for agent, kind in wrong_now.items():
                expected = (BY_THEN if number > 1 else {}).get(kind, REASONS[kind])
                assert expected in round_.refusals[agent], (kind, round_.refusals)


@storm
async def test_nobody_publishes_in_another_ones_name(seed: int, tmp_path: Path) -> None:
    """The broker's access rules keep an agent to its own topics, whatever it tries."""
    chance = chance_of("thief", seed)
    plan = Plan(seed=seed, train_seconds=0.3, accounts=(THIEF,))
    async with House(tmp_path, plan) as house, house.spying("#") as spy:
        await house.submit(rounds=2)
        seen: set[str] = set()
        stolen: set[str] = set()
        listening = [
            asyncio.create_task(_hear(spy, seen, lambda packet: packet.payload == SIGN)),
        ]
        address = house.broker.address(THIEF)
        async with mqtt.connect(address, name=THIEF, listen=[f"{ROOT}/#", "#"]) as thief:
            listening.append(asyncio.create_task(_hear(thief, stolen, lambda _: True)))
            for topic in chance.sample(DENIED, len(DENIED)):
                await thief.publish(Packet(f"{ROOT}/{topic}", SIGN, retain=True))
            await thief.publish(Packet(f"{ROOT}/{ALLOWED}", SIGN))
            await house.until("the job is over", house.ended)
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
        await house.finish(rounds=2, allowed=(ALLOWED,))
        assert seen == {f"{ROOT}/{ALLOWED}"}
        # Models are for all agents; nothing else is for this one.
        assert {topic.split("/")[2] for topic in stolen} <= {"blobs"}


async def _hear(bus: Bus, topics: set[str], wanted: Callable[[Packet], bool]) -> None:
    async for packet in bus:
        if wanted(packet):
            topics.add(packet.topic)
