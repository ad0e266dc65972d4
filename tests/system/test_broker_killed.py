"""Broker killed with SIGKILL during the upload of updates, and restarted on its port."""

import asyncio
from pathlib import Path

import pytest

from tests.system.process_cluster import COLLECTOR, Plan, ProcessCluster
from tests.system.seeds import fault_rng, storm

pytestmark = [pytest.mark.system, pytest.mark.storm]

NUMBERS = 1_000_000
CHUNKS = 16 * 3
"""Chunks of the updates of one round."""


@storm
async def test_a_job_finishes_after_a_killed_broker(seed: int, tmp_path: Path) -> None:
    """All nodes connect again and request the missing chunks."""
    rng = fault_rng("broker", seed)
    last, pause = rng.randint(1, 3 * CHUNKS - 8), rng.choice([0.0, 0.3, 2.0, 5.0])
    async with ProcessCluster(tmp_path, Plan(seed=seed, numbers=NUMBERS)) as cluster:
        async with cluster.subscribed(f"link/+/{COLLECTOR}/chunk") as bus:
            submitting = asyncio.create_task(cluster.submit(rounds=3))
            async with asyncio.timeout(60):
                heard = 0
                async for _ in bus:
                    heard += 1
                    if heard == last:
                        break
            cluster.broker.kill()
        cluster.note(f"broker killed after {last} chunks of updates, back in {pause:.1f} s")
        assert len(cluster.log_entries(COLLECTOR, "round_aggregated")) <= (last - 1) // CHUNKS
        await asyncio.sleep(pause)
        cluster.broker.start()
        await submitting
        await cluster.finish(rounds=3)
