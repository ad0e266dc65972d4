"""Services killed with SIGKILL at a named step of a round, and restarted: the job finishes.

Each seed selects another step and strategy; `seeds.py` describes how to run one seed.
"""

import asyncio
from pathlib import Path

import pytest

from tests.system.process_cluster import (
    COLLECTOR,
    CONTROLLER,
    REPOSITORY,
    STRATEGIES,
    Plan,
    ProcessCluster,
)
from tests.system.seeds import fault_rng, point_of, storm

pytestmark = [pytest.mark.system, pytest.mark.storm]

# Least number of times each step occurs in three rounds of three agents and an evaluator: one round
# less where a node can miss a round on a slow machine.
AGENT_STEPS = {
    "received:TrainTask": 2,
    "fetch:TaskInputFetch": 3,
    "fetched:TaskInputFetch": 3,
    "run:TrainingWork": 2,
    "ran:TrainingWork": 2,
    "serve": 2,
    "send:Offer": 2,
    "received:Receipt": 2,
    "unserve": 2,
    "run:UpdateRemoval": 2,
    "ran:UpdateRemoval": 2,
    "received:StopJob": 1,
}
COLLECTOR_STEPS = {
    "received:OpenRound": 3,
    "send:RoundOpened": 3,
    "fetch:LayoutFetch": 1,
    "fetched:LayoutFetch": 1,
    "fetch:BaseFetch": 1,
    "fetched:BaseFetch": 1,
    "received:Offer": 6,
    "fetch:UpdateFetch": 6,
    "fetched:UpdateFetch": 6,
    "run:FoldRun": 3,
    "ran:FoldRun": 3,
    "run:AggregateRun": 3,
    "ran:AggregateRun": 3,
    "serve": 3,
    "send:Commit": 3,
    "received:Committed": 3,
    "send:Receipt": 6,
    "send:RoundEnded": 3,
    "received:RoundEndNoted": 3,
    "received:StopJob": 1,
}
CONTROLLER_STEPS = {
    "send:TakeLease": 1,
    "received:LeaseGranted": 1,
    "requested": 1,
    "send:StoreJob": 1,
    "received:JobLoaded": 1,
    "send:StorePlan": 3,
    "received:PlanStored": 3,
    "send:OpenRound": 3,
    "send:TrainTask": 6,
    "received:RoundOpened": 3,
    "received:RoundEnded": 3,
    "send:RoundEndNoted": 3,
    "send:EvaluateTask": 2,
    "received:Evaluated": 2,
    "send:StoreEvaluation": 2,
    "received:EvaluationStored": 2,
    "send:EndJob": 1,
    "received:JobEnded": 1,
    "send:StopJob": 4,
    "received:JobStopped": 4,
}
REPOSITORY_STEPS = {
    "received:TakeLease": 1,
    "ran:TakeLease": 1,
    "received:StoreJob": 1,
    "ran:StoreJob": 1,
    "received:StorePlan": 3,
    "run:StorePlan": 3,
    "ran:StorePlan": 3,
    "received:Commit": 3,
    "run:Commit": 6,
    "fetch:Commit": 3,
    "fetched:Commit": 3,
    "ran:Commit": 6,
    "send:Committed": 3,
    "received:StoreEvaluation": 2,
    "ran:StoreEvaluation": 2,
    "received:EndJob": 1,
    "send:JobEnded": 1,
    "store:reserve": 3,
    "store:write": 9,
    "store:sync": 3,
    "store:rename": 3,
    "store:sync_folder": 3,
    "store:insert": 8,
}
VICTIMS = {
    "agent.a1": AGENT_STEPS,
    COLLECTOR: COLLECTOR_STEPS,
    CONTROLLER: CONTROLLER_STEPS,
    REPOSITORY: REPOSITORY_STEPS,
}


@pytest.mark.parametrize("node", VICTIMS, ids=lambda node: str(node).partition(".")[0])
@storm
async def test_a_job_finishes_after_a_killed_service(node: str, seed: int, tmp_path: Path) -> None:
    """Restarted after up to six seconds: no update is lost or counted twice."""
    fault = point_of(node, VICTIMS[node], seed)
    pause = fault_rng(f"pause of {node}", seed).choice([0.1, 0.5, 2.0, 6.0])
    # Consecutive seeds get different strategies, and so do the nodes of one seed.
    strategy = sorted(STRATEGIES)[(seed + [*VICTIMS].index(node)) % len(STRATEGIES)]
    plan = Plan(seed=seed, evaluators=1, faults={node: fault}, strategy=strategy)
    async with ProcessCluster(tmp_path, plan) as cluster:
        cluster.note(f"{node} is killed at {fault}, with {strategy}")
        submitted = cluster.submit(rounds=3, quorum=3 if strategy == "multi-krum" else 2)
        await asyncio.gather(cluster.restart_after_fault(node, pause), submitted)
        await cluster.finish(rounds=3)
