"""Masked jobs over processes and a real broker: agents and collectors are killed in their steps."""

from functools import partial
from pathlib import Path

import pytest

from tests.system.process_cluster import COLLECTOR, Plan, ProcessCluster
from tests.system.seeds import storm

pytestmark = [pytest.mark.system, pytest.mark.storm]

AGENTS, ROUNDS = 4, 3
MASKED = {"privacy-mechanisms": {"secure-aggregation": {"bits": 16, "step_seconds": 3}}}
AGENT_STEPS = ("ran:TrainingWork", "send:StepReply", "received:Step", "send:Offer")
COLLECTOR_STEPS = ("send:Step", "received:StepReply", "ran:FoldRun", "ran:AggregateRun")


async def submit(cluster: ProcessCluster) -> None:
    """Submit a masked job that needs three of its agents."""
    await cluster.submit(ROUNDS, more=MASKED, agents=AGENTS, quorum=3)


def _has_died(cluster: ProcessCluster, node: str) -> bool:
    return cluster.processes[node].exit_code is not None


async def test_the_sum_is_that_of_the_contributors(tmp_path: Path) -> None:
    """And nothing but masked updates and journals of running tasks is on the agents' disks."""
    plan = Plan(seed=1, agents=AGENTS, numbers=70_000, masked=True)
    async with ProcessCluster(tmp_path, plan) as cluster:
        await submit(cluster)
        await cluster.finish(ROUNDS)
        for agent in cluster.agents:
            folder = tmp_path / "agents" / agent
            assert (folder / "identity.key").stat().st_mode & 0o777 == 0o600
            assert not list(folder.glob("masking/*"))


@storm
async def test_an_agent_dies_while_the_round_runs(seed: int, tmp_path: Path) -> None:
    """The round goes on without it, or with what it has on its disk when it is back."""
    step, victim = AGENT_STEPS[seed % len(AGENT_STEPS)], f"agent.a{seed % AGENTS}"
    faults = {victim: f"{step}:{1 + seed % 3}"}
    plan = Plan(seed=seed, agents=AGENTS, numbers=2_000, masked=True, faults=faults)
    async with ProcessCluster(tmp_path, plan) as cluster:
        await submit(cluster)
        await cluster.until(f"{victim} dies", partial(_has_died, cluster, victim))
        await cluster.restart((victim,))
        await cluster.finish(ROUNDS)


@storm
async def test_a_collector_dies_while_the_round_runs(seed: int, tmp_path: Path) -> None:
    """Its round fails, and is planned again with other keys."""
    step = COLLECTOR_STEPS[seed % len(COLLECTOR_STEPS)]
    faults = {COLLECTOR: f"{step}:{1 + seed % 4}"}
    plan = Plan(seed=seed, agents=AGENTS, numbers=2_000, masked=True, faults=faults)
    async with ProcessCluster(tmp_path, plan) as cluster:
        await submit(cluster)
        await cluster.until("the collector dies", partial(_has_died, cluster, COLLECTOR))
        await cluster.restart((COLLECTOR,))
        await cluster.finish(ROUNDS)
