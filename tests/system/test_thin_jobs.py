"""Jobs with thin downloads and frozen numbers over processes and a real broker."""

from pathlib import Path

import pytest

from tests.system.process_cluster import COLLECTOR, Plan, ProcessCluster
from tests.system.seeds import storm

pytestmark = [pytest.mark.system, pytest.mark.storm]

ROUNDS = 4
FREEZING = {
    "id": "adaptive-freezing",
    "parameters": {"stability_threshold": 0.6, "moving_average": 0.5},
}
JOB = {
    "download": [{"id": "quantize", "parameters": {"bits": 4}}, "zstandard"],
    "transmitter": [FREEZING, "quantize", "zstandard"],
    "config": [{"learning_rate": 1.9, "batch_size": 64, "epochs": 1}],
    "strategy": {"id": "fedavg"},
}
STEPS = ("ran:AggregateRun", "send:Commit", "ran:FrozenCheck", "received:Committed")


async def test_agents_download_less_and_the_versions_are_exact(tmp_path: Path) -> None:
    """The oracle reads every update and every thin blob again."""
    plan = Plan(seed=1, agents=3, numbers=70_000, strategy="fedadam")
    async with ProcessCluster(tmp_path, plan) as cluster:
        await cluster.submit(ROUNDS, more=JOB, agents=3, quorum=2)
        await cluster.finish(ROUNDS)


@storm
async def test_a_collector_dies_while_the_round_runs(seed: int, tmp_path: Path) -> None:
    """It writes the same thin blob and freezes the same numbers when it is back."""
    faults = {COLLECTOR: f"{STEPS[seed % len(STEPS)]}:1"}
    plan = Plan(seed=seed, agents=3, numbers=20_000, strategy="fedadam", faults=faults)
    async with ProcessCluster(tmp_path, plan) as cluster:
        await cluster.submit(ROUNDS, more=JOB, agents=3, quorum=2)

        def has_died() -> bool:
            return cluster.processes[COLLECTOR].exit_code is not None

        await cluster.until("the collector dies", has_died)
        await cluster.restart((COLLECTOR,))
        await cluster.finish(ROUNDS)
