"""Services that freeze and continue later; two controllers with one lease."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from fedbus.simulation.network_faults import NO_FAULTS, ROUGH_LINKS
from fedbus.simulation.oracle import check_records
from fedbus.simulation.services import COLLECTOR, CONTROLLER
from tests.ring.ring_cluster import RingCluster, fault_rng

SEEDS = 60
BATCH = 20
CONTROLLERS = (CONTROLLER, "controller.2")


def frozen_run(folder: Path, seed: int) -> RingCluster:
    """Run a job while services freeze for up to three lease times."""
    rng = fault_rng(seed)
    cluster = RingCluster(
        folder,
        seed=seed,
        agents=3,
        controllers=2,
        numbers=rng.choice([200, 3_000, 150_000]),
        faults=rng.choice([NO_FAULTS, ROUGH_LINKS]),
    )
    for _ in range(rng.randint(1, 4)):
        victim = rng.choice([*CONTROLLERS, *CONTROLLERS, COLLECTOR, *cluster.agents])
        at, seconds = rng.uniform(0, 12), rng.uniform(1, 45)
        cluster.ring.at(at, partial(cluster.ring.freeze, victim, seconds))
    cluster.submit(rounds=rng.randint(2, 5), wish={"deadline_seconds": 20})
    cluster.run(seconds=1800)
    return cluster


def _run_on(cluster: RingCluster, seconds: float) -> None:
    end = cluster.ring.now + seconds
    cluster.ring.run(lambda: cluster.ring.now >= end)


def _batches() -> list[range]:
    only = os.environ.get("FEDBUS_RING_SEED")
    if only:
        return [range(int(only), int(only) + 1)]
    return [range(first, first + BATCH) for first in range(0, SEEDS, BATCH)]


@pytest.mark.parametrize("seeds", _batches(), ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_a_service_that_froze_changes_no_decision(seeds: range, tmp_path: Path) -> None:
    """Each round is committed once, and the final state of a job does not change."""
    for seed in seeds:
        cluster = frozen_run(tmp_path / str(seed), seed)
        last = cluster.states["job-1"][-1]
        assert last.phase == "finished", f"seed {seed}: {last.reason}"
        _run_on(cluster, 100)
        later = cluster.states["job-1"][-1]  # perhaps published again, with a later time
        assert replace(later, at=last.at) == last, f"seed {seed}: the final state changed"
        assert cluster.ring.broker.violations == [], f"seed {seed}"
        with cluster.store() as store:
            check_records(store, cluster.updates)
            made = [one for one in store.history() if one.record is not None]
            assert len(made) == last.round, f"seed {seed}"
        cluster.close()
