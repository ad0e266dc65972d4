"""Cohorts of private jobs while the controller is killed: whom the ledger allows, who is drawn."""

import hashlib
from collections import defaultdict
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fedbus.simulation.services import COLLECTOR, CONTROLLER
from fedbus.wire.round_records import RoundRecord
from fedbus_controller.rounds.poisson_sampling import poisson_cohort
from tests.ring.ring_cluster import RingCluster
from tests.ring.test_private_rounds import kill_at

NORM = 1000.0
BANDED = {
    "dp-banded": {
        "noise_multiplier": 0.5,
        "clipping_norm": NORM,
        "num_sampled_clients": 2,
        "min_separation": 3,
        "max_participations": 2,
    }
}
POISSON = {
    "dp-fixed": {"noise_multiplier": 0.5, "clipping_norm": NORM, "num_sampled_clients": 2},
    "accounting": {"sampling": "poisson"},
}
AGENTS = 7
STEPS = (
    *("send:StorePlan", "received:PlanStored", "send:TrainTask", "send:OpenRound"),
    "received:RoundEnded",
)


def records(cluster: RingCluster, mechanisms: object, **more: Any) -> list[RoundRecord]:  # noqa: ANN401 - of a job file
    """Run a private job of five rounds to its end, and return its records."""
    wish = {"agents": None, "quorum": None}
    strategy = {"id": "fedavg", "population": AGENTS}
    mechanism = {"privacy-mechanisms": mechanisms, "strategy": strategy, **more}
    cluster.submit(rounds=5, wish=wish, **mechanism)
    state = cluster.run()
    assert (state.phase, state.round) == ("finished", 5), state.reason
    assert cluster.ring.broker.violations == []
    assert cluster.ring.misread == []
    with cluster.store() as store:
        return [each.record for each in store.history() if each.record is not None]


def check_participations(made: list[RoundRecord]) -> None:
    """Compare the ledger entries of each agent's updates with the job's limits."""
    entries: dict[str, list[int]] = defaultdict(list)
    for record in made:
        assert record.privacy is not None
        for each in record.contributors:
            entries[each.agent].append(record.privacy.entries)
    assert max(map(len, entries.values())) <= 2
    gaps = [b - a for numbers in entries.values() for a, b in pairwise(numbers)]
    assert min(gaps, default=3) >= 3


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_controller_asks_no_agent_too_soon_or_too_often(step: str, tmp_path: Path) -> None:
    """Two participations of an agent are at least three ledger entries apart, and there are two."""
    with closing(RingCluster(tmp_path, agents=AGENTS)) as cluster:
        killed = kill_at(cluster, CONTROLLER, step, 3)
        made = records(cluster, BANDED)
        assert killed
    check_participations(made)


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_controller_draws_the_cohort_of_each_task(step: str, tmp_path: Path) -> None:
    """It is that of the job's secret; no published state tells its size."""
    with closing(RingCluster(tmp_path, agents=AGENTS, seed=1)) as cluster:
        killed = kill_at(cluster, CONTROLLER, step, 2)
        made = records(cluster, POISSON)
        assert killed
        assert {state.agents for state in cluster.states["job-1"]} == {0}
        drawn = [
            poisson_cohort(
                cluster.agents,
                rate=2 / AGENTS,
                secret=hashlib.sha256(b"1").digest(),
                job=record.job,
                round=record.round,
                task=record.task,
            )
            for record in made
        ]
    assert [tuple(sorted(c.agent for c in record.contributors)) for record in made] == drawn
    assert len({*map(len, drawn)}) > 1


def test_a_lost_collector_leaves_the_ledger_to_be_loaded(tmp_path: Path) -> None:
    """The other one gets the round, with agents that the ledger still allows."""
    with closing(RingCluster(tmp_path, agents=AGENTS, collectors=2)) as cluster:
        kill_for_good(cluster)
        made = records(cluster, BANDED)
    check_participations(made)
    numbers = [record.privacy.entries for record in made if record.privacy is not None]
    assert numbers == [2, 3, 4, 5, 6]


def kill_for_good(cluster: RingCluster) -> None:
    """Kill the first collector once it has drawn noise."""

    def on_step(host: str, name: str) -> None:
        if (host, name) == (COLLECTOR, "received:NoiseRecorded"):
            cluster.ring.kill_before_actions(COLLECTOR)
            cluster.ring.at(cluster.ring.now, lambda: cluster.ring.kill(COLLECTOR))

    cluster.ring.on_step = on_step
