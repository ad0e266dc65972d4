"""Private jobs over processes: collectors are killed around the ledger's insert, keys are wrong."""

from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from fedbus.privacy.noise_key import NoiseKey
from tests.repository.store_history import SqliteHistory
from tests.system.process_cluster import COLLECTOR, JOB, Plan, ProcessCluster
from tests.system.seeds import fault_rng, storm

pytestmark = [pytest.mark.system, pytest.mark.storm]

SECOND = "collector.2"
NODES = (COLLECTOR, SECOND)
OTHER_KEY = NoiseKey(bytes(range(32)))
AGENTS, ROUNDS = 5, 3
CENTRAL = {"noise_multiplier": 0.7, "clipping_norm": 1000.0, "num_sampled_clients": 2}
POISSON = {
    "privacy-mechanisms": {"dp-fixed": CENTRAL, "accounting": {"sampling": "poisson"}},
    "strategy": {"id": "fedavg", "population": AGENTS},
}
BANDED = {
    "privacy-mechanisms": {
        "dp-banded": {**CENTRAL, "min_separation": 2, "max_participations": 4, "bands": 2}
    }
}
STEPS = ("send:RecordNoise", "send:Commit", "received:NoiseRecorded", "ran:AggregateRun")


async def submit(cluster: ProcessCluster, job: Mapping[str, object]) -> None:
    """Submit a private job; its cohort is that of its mechanism."""
    await cluster.submit(ROUNDS, more=job, agents=2, quorum=0 if job is POISSON else 2)


def entries(cluster: ProcessCluster) -> int:
    """Return the length of the job's ledger."""
    with closing(SqliteHistory(cluster.folder / "repository")) as history:
        return len(history.ledger(JOB))


@storm
async def test_two_collectors_die_between_noise_and_commit(seed: int, tmp_path: Path) -> None:
    """Each version has the noise of its entry, and each noise that may have left has an entry."""
    rng, first = fault_rng("private jobs", seed), seed % len(STEPS)
    steps = (STEPS[first], rng.choice(STEPS[:first] + STEPS[first + 1 :]))
    faults = {node: f"{step}:{rng.randint(1, 2)}" for node, step in zip(NODES, steps, strict=True)}
    plan = Plan(seed=seed, agents=AGENTS, collectors=2, numbers=2_000, faults=faults, private=True)
    async with ProcessCluster(tmp_path, plan) as cluster:
        await submit(cluster, BANDED if seed % 2 else POISSON)
        for node in NODES:  # each gets the rounds while the other one is dead
            await cluster.until(f"{node} dies", partial(_has_died, cluster, node))
        await cluster.restart(NODES)
        await cluster.finish(ROUNDS)
        spent = cluster.state().privacy
        assert spent is not None
        assert spent.entries == entries(cluster) >= ROUNDS


def _has_died(cluster: ProcessCluster, node: str) -> bool:
    return cluster.processes[node].exit_code is not None


async def test_no_noise_is_drawn_with_a_wrong_key(tmp_path: Path) -> None:
    """The job waits and says why; it goes on when all collectors have the same key again."""
    plan = Plan(seed=0, agents=AGENTS, collectors=2, numbers=2_000, private=True)
    async with ProcessCluster(tmp_path, plan) as cluster:
        await _restart_with(cluster, OTHER_KEY, SECOND)
        await submit(cluster, BANDED)
        await _waits(cluster, "waiting for one noise key: collector.1 has ")
        assert (cluster.state().round, entries(cluster)) == (0, 0)
        await _restart_with(cluster, cluster.noise_key, SECOND)
        await cluster.until("a round is done", lambda: cluster.state().round >= 1)
        for node in NODES:  # while they run, and perhaps in a round, which has read its key
            cluster.put_key(node, OTHER_KEY)
        await _waits(cluster, "waiting for ")
        paid = (cluster.state().round, entries(cluster))
        assert paid[0] < ROUNDS
        await _restart_with(cluster, OTHER_KEY, *NODES)
        await _waits(cluster, "waiting for the job's noise key: ")
        for node in NODES:
            cluster.kill(node)
            cluster.put_key(node)
            cluster.key_file(node).chmod(0o644)
            cluster.start(node)
            await cluster.until(f"{node} refuses it", partial(_has_died, cluster, node))
            assert "its mode is 0644" in cluster.processes[node].log_lines()[-1]
        assert (cluster.state().round, entries(cluster)) == paid
        await _restart_with(cluster, cluster.noise_key, *NODES)
        await cluster.finish(ROUNDS, allowed=("its mode is 0644",))


async def _waits(cluster: ProcessCluster, why: str) -> None:
    await cluster.until(why, lambda: cluster.state().reason.startswith(why), 30.0)


async def _restart_with(cluster: ProcessCluster, key: NoiseKey, *nodes: str) -> None:
    for node in nodes:
        cluster.kill(node)
        cluster.put_key(node, key)
    await cluster.restart(nodes)
