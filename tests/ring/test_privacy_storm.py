"""Private jobs in storms, and the oracle: the ledger never states less than was released.

A failure names its mechanism and seed: `FEDBUS_RING_SEED=17 pytest tests/ring/test_privacy_storm.py
-k banded` runs it alone. FEDBUS_RING_SEEDS=200 runs that many seeds of each mechanism.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fedbus.privacy.noise_key import read_noise_key
from fedbus.simulation.private_records import check_private_records
from tests.ring.privacy_storm import (
    MECHANISMS,
    POINTS,
    ROUNDS,
    check_private,
    privacy_storm,
    private_cluster,
    run_private,
)
from tests.ring.strategy_storm import kill_at

FEW = 2
BATCH = 10
BACK_SECONDS = 25.0
"""Longer than it takes to give a collector up, so that the other one runs the round."""


def _batches() -> Iterator[tuple[str, range]]:
    only, count = os.environ.get("FEDBUS_RING_SEED"), os.environ.get("FEDBUS_RING_SEEDS", FEW)
    for name in MECHANISMS:
        if only:
            yield name, range(int(only), int(only) + 1)
            continue
        for first in range(0, int(count), BATCH):
            yield name, range(first, min(first + BATCH, int(count)))


def _name(value: object) -> str:
    return f"{value[0]}-{value[-1]}" if isinstance(value, range) else str(value)


@pytest.mark.parametrize(("name", "seeds"), [*_batches()], ids=_name)
def test_a_storm_lets_nothing_out_that_the_ledger_lacks(
    name: str, seeds: range, tmp_path: Path
) -> None:
    """And each version is what a second implementation makes of its updates and its noise."""
    for seed in seeds:
        cluster, releases = privacy_storm(tmp_path / str(seed), seed, name)
        with closing(cluster):
            try:
                check_private(cluster, releases)
            except Exception as error:
                raise AssertionError(f"{name}, seed {seed}: {error}") from error


@pytest.mark.parametrize(
    ("role", "step"), [(role, step) for role, points in POINTS.items() for step in points]
)
def test_a_kill_at_each_step_is_paid_for(role: str, step: str, tmp_path: Path) -> None:
    """Banded noise of later rounds takes back that of every entry, also of failed rounds."""
    cluster, releases = private_cluster(tmp_path, 2)
    with closing(cluster):
        killed = kill_at(cluster, role, step, 2, BACK_SECONDS)
        run_private(cluster, "banded")
        check_private(cluster, releases)
        assert len(killed) == 1


@pytest.mark.parametrize("name", MECHANISMS)
def test_each_mechanism_without_faults(name: str, tmp_path: Path) -> None:
    """The oracle computes its versions, its state and its ledger again."""
    cluster, releases = private_cluster(tmp_path, 1)
    with closing(cluster):
        run_private(cluster, name)
        check_private(cluster, releases)


def test_a_second_job_adds_its_epsilon_to_that_of_the_model(tmp_path: Path) -> None:
    """Basic composition: the ledgers of both jobs have the sum."""
    cluster, _ = private_cluster(tmp_path, 3)
    with closing(cluster):
        run_private(cluster, "fixed")
        run_private(cluster, "banded", "job-2")
        first, second = (cluster.states[job][-1].privacy for job in ("job-1", "job-2"))
        assert first is not None
        assert second is not None
        total = (first.epsilon or 0) + (second.epsilon or 0)
        assert second.model_epsilon == pytest.approx(total, rel=1e-5)
        assert (second.model_epsilon or 0) >= total
        assert second.model_delta == 2e-5
        with cluster.store() as store:
            key, updates = read_noise_key(cluster.noise_key), cluster.records.updates_of("job-1")
            assert check_private_records(store, updates, key, job="job-1").summed == ROUNDS
            updates = cluster.records.updates_of("job-2")
            assert check_private_records(store, updates, key, job="job-2").summed == ROUNDS
