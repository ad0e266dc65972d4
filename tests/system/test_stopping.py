"""Clean end of all processes on SIGTERM, without loss of committed work."""

import asyncio
from pathlib import Path

import pytest

from tests.system.process_cluster import Plan, ProcessCluster
from tests.system.seeds import fault_rng, storm

pytestmark = [pytest.mark.system, pytest.mark.storm]


@storm
async def test_all_processes_end_cleanly_on_sigterm_and_the_job_continues_after_a_start(
    seed: int, tmp_path: Path
) -> None:
    """In the middle of a round: exit code 0 within seconds; afterwards the job continues."""
    rng = fault_rng("stop", seed)
    plan = Plan(seed=seed, evaluators=1, train_seconds=0.5, inference=seed % 2 == 0)
    async with ProcessCluster(tmp_path, plan) as cluster:
        await cluster.submit(rounds=3)
        after = rng.randint(0, 2)
        await cluster.until(f"{after} rounds are done", lambda: cluster.state().round >= after)
        await asyncio.sleep(rng.uniform(0, 1))
        cluster.note("SIGTERM to all")
        await cluster.stop_all()
        # A SIGTERM before a process has connected again would end Python without a clean stop.
        await cluster.restart(rng.sample(sorted(cluster.processes), len(cluster.processes)))
        await cluster.finish(rounds=3)


@storm
async def test_all_end_cleanly_without_a_broker(seed: int, tmp_path: Path) -> None:
    """No process waits for a broker that is gone, not even for its last message."""
    rng = fault_rng("stop without a broker", seed)
    async with ProcessCluster(tmp_path, Plan(seed=seed, train_seconds=0.5)) as cluster:
        await cluster.submit(rounds=3)
        await asyncio.sleep(rng.uniform(0, 1))
        cluster.broker.kill()
        await asyncio.sleep(rng.uniform(0, 2))
        await cluster.stop_all()
