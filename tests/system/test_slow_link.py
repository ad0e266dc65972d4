"""Agent behind a link of 1 Mbit/s: the others do not wait for it, and no blob is sent twice."""

from pathlib import Path

import pytest

from tests.system.process_cluster import COLLECTOR, JOB, Plan, ProcessCluster
from tests.system.seeds import fault_rng, storm

pytestmark = [pytest.mark.system, pytest.mark.storm]

MEGABIT = 1e6
NUMBERS = 100_000
SIZE = NUMBERS * 4
"""Bytes of an update, and of the model: more than three seconds on the slow link, each way."""
DEADLINE_SECONDS = 5.0
SMALL = 60_000
"""Bytes of control messages and heartbeats in a whole test."""


@pytest.mark.parametrize("waits", [True, False], ids=["with", "without"])
@storm
async def test_a_slow_agent_delays_no_round(waits: bool, seed: int, tmp_path: Path) -> None:
    """The round commits with its update where the deadline allows it, else without."""
    rounds, deadline = (1, 60.0) if waits else (2, DEADLINE_SECONDS)
    slow = f"agent.a{fault_rng('slow link', seed).randint(0, 3)}"
    plan = Plan(seed=seed, agents=4, numbers=NUMBERS, slow={slow: MEGABIT})
    async with ProcessCluster(tmp_path, plan) as cluster:
        cluster.note(f"{slow} is slow")
        await cluster.submit(rounds=rounds, quorum=3, deadline_seconds=deadline)
        await cluster.finish(rounds=rounds)
        fast = {agent for agent in cluster.agents if agent != slow}
        for number in range(1, rounds + 1):
            counted = {*cluster.rounds[JOB, number].contributors}
            assert counted == (fast | {slow} if waits else fast)
        opened = [note["at"] for note in cluster.log_entries(COLLECTOR, "round_opened")]
        quorate = [note["at"] for note in cluster.log_entries(COLLECTOR, "quorum_reached")]
        assert all(q - o < DEADLINE_SECONDS for o, q in zip(opened, quorate, strict=True))
        for agent in cluster.agents:
            assert cluster.traffic(agent, "sent_bytes") < rounds * SIZE + SMALL
            # Chunks in flight when an agent is moved to unicast are sent once more; on a busy
            # machine fast agents are moved too.
            assert cluster.traffic(agent, "received_bytes") < rounds * 2 * SIZE + SMALL
