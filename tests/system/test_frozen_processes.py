"""Processes that are stopped with SIGSTOP and continue later."""

import asyncio
from pathlib import Path

import pytest

from tests.system.process_cluster import COLLECTOR, Plan, ProcessCluster
from tests.system.seeds import FEW, fault_rng, storm

pytestmark = [pytest.mark.system, pytest.mark.storm]

LEASE_SECONDS = 4.0
BOTH = ("controller.1", "controller.2")


@pytest.mark.parametrize("node", ["agent.a1", COLLECTOR], ids=["agent", "collector"])
@storm
async def test_a_job_finishes_after_a_process_was_frozen(
    node: str, seed: int, tmp_path: Path
) -> None:
    """A node counts as lost after three seconds, and continues after one to twenty."""
    rng = fault_rng(f"frozen {node}", seed)
    after = rng.randint(0, 2)
    seconds = rng.uniform(1, 5 if seed < FEW else 20)
    async with ProcessCluster(tmp_path, Plan(seed=seed, train_seconds=0.3)) as cluster:
        await cluster.submit(rounds=4)
        opened = lambda: len(cluster.log_entries(COLLECTOR, "round_opened")) > after  # noqa: E731
        await cluster.until(f"round {after + 1} is open", opened)
        await asyncio.sleep(rng.uniform(0, 0.5))
        cluster.freeze(node)
        await asyncio.sleep(seconds)
        cluster.thaw(node)
        await cluster.finish(rounds=4)


@storm
async def test_a_controller_that_lost_its_lease_decides_nothing(seed: int, tmp_path: Path) -> None:
    """The standby takes over; the first controller detects it when it continues."""
    rng = fault_rng("two controllers", seed)
    rounds, after, wakes_late = 5, rng.randint(0, 2), rng.random() < 0.3
    plan = Plan(
        seed=seed, controllers=2, evaluators=1, train_seconds=0.4, lease_seconds=LEASE_SECONDS
    )
    async with ProcessCluster(tmp_path, plan) as cluster:
        await cluster.submit(rounds=rounds)
        await cluster.until("some rounds are done", lambda: cluster.state().round >= after)
        await asyncio.sleep(rng.uniform(0, 0.5))
        await cluster.until("one of both leads", lambda: _leaders(cluster))
        leader = _leaders(cluster)[-1]
        standby = next(node for node in BOTH if node != leader)
        lost = len(cluster.log_entries(leader, "lease_lost"))
        cluster.freeze(leader)
        await cluster.until("the standby leads", lambda: standby in _leaders(cluster))
        if wakes_late:
            await cluster.until("the job is over", cluster.ended)
        else:
            await asyncio.sleep(rng.uniform(0, 1))
        cluster.thaw(leader)
        noted = lambda: len(cluster.log_entries(leader, "lease_lost")) > lost  # noqa: E731
        await cluster.until("the first has noted the loss", noted)
        await cluster.finish(rounds=rounds)


def _leaders(cluster: ProcessCluster) -> list[str]:
    """List the controllers that lead according to their logs, by the time of the lease."""
    leaders = []
    for node in BOTH:
        changes = [
            *cluster.log_entries(node, "lease_taken"),
            *cluster.log_entries(node, "lease_lost"),
        ]
        last = max(changes, key=lambda note: str(note["timestamp"]), default=None)
        if last is not None and last["event"] == "lease_taken":
            leaders.append((str(last["timestamp"]), node))
    return [node for _, node in sorted(leaders)]
