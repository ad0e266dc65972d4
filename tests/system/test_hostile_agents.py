"""Agents that send wrong updates: they are refused with the reason, and the job finishes."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import Bus, Packet
from fedbus.wire.topics import ROOT
from tests.system.hostile_agent import WRONG
from tests.system.process_cluster import COLLECTOR, JOB, MODEL, REPOSITORY, Plan, ProcessCluster
from tests.system.seeds import fault_rng, storm

pytestmark = [pytest.mark.system, pytest.mark.storm]

THIEF = "agent.thief"
SIGN = b"stolen"
ALLOWED = f"link/{THIEF}/{COLLECTOR}/offer"
"""Its own topic: the message arrives, and is logged as misread."""
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
"""Reasons in the second round that differ from the first."""
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
    """The round's record has the reason of each; the updates of honest agents count."""
    rng = fault_rng("hostile", seed)
    wrong = rng.sample(WRONG, 6)
    hostile = {f"agent.h{number}": kind for number, kind in enumerate(wrong)}
    async with ProcessCluster(tmp_path, Plan(seed=seed, hostile=hostile)) as cluster:
        cluster.note(str(hostile))
        await cluster.submit(rounds=2, deadline_seconds=6)
        await cluster.finish(rounds=2)
        for number in (1, 2):
            round_ = cluster.rounds[JOB, number]
            # In the first round, the update that is replayed later is correct.
            wrong_now = {a: k for a, k in hostile.items() if (k, number) != ("replay", 1)}
            assert not wrong_now.keys() & {*round_.contributors}
            for agent, kind in wrong_now.items():
                expected = (BY_THEN if number > 1 else {}).get(kind, REASONS[kind])
                assert expected in round_.refusals[agent], (kind, round_.refusals)


@storm
async def test_no_agent_publishes_under_another_name(seed: int, tmp_path: Path) -> None:
    """The broker's access rules allow an agent its own topics only."""
    rng = fault_rng("thief", seed)
    plan = Plan(seed=seed, train_seconds=0.3, accounts=(THIEF,))
    async with ProcessCluster(tmp_path, plan) as cluster, cluster.subscribed("#") as spy:
        await cluster.submit(rounds=2)
        seen: set[str] = set()
        stolen: set[str] = set()
        listening = [
            asyncio.create_task(_hear(spy, seen, lambda packet: packet.payload == SIGN)),
        ]
        address = cluster.broker.address(THIEF)
        async with mqtt.connect(address, name=THIEF, listen=[f"{ROOT}/#", "#"]) as thief:
            listening.append(asyncio.create_task(_hear(thief, stolen, lambda _: True)))
            for topic in rng.sample(DENIED, len(DENIED)):
                await thief.publish(Packet(f"{ROOT}/{topic}", SIGN, retain=True))
            await thief.publish(Packet(f"{ROOT}/{ALLOWED}", SIGN))
            await cluster.until("the job is over", cluster.ended)
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
        await cluster.finish(rounds=2, allowed=(ALLOWED,))
        assert seen == {f"{ROOT}/{ALLOWED}"}
        # Each agent may read models; this agent may read nothing else.
        assert {topic.split("/")[2] for topic in stolen} <= {"blobs"}


async def _hear(bus: Bus, topics: set[str], wanted: Callable[[Packet], bool]) -> None:
    async for packet in bus:
        if wanted(packet):
            topics.add(packet.topic)
