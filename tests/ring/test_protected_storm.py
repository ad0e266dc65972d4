"""Encrypted and masked jobs in storms: each version is the sum of exactly its contributors.

A failure names its job and seed: `FEDBUS_RING_SEED=17 pytest tests/ring/test_protected_storm.py
-k masked-fedadam` runs it alone. FEDBUS_RING_SEEDS=200 runs that many seeds of each job.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.ring.protected_storm import JOBS, check_protected, finish, protected_run, protected_storm

SEEDS = 500
"""Of all jobs together, as they share them."""
BATCH = 20


def _batches() -> Iterator[tuple[str, range]]:
    only, count = os.environ.get("FEDBUS_RING_SEED"), os.environ.get("FEDBUS_RING_SEEDS")
    for name, job in JOBS.items():
        if only:
            yield name, range(int(only), int(only) + 1)
            continue
        seeds = int(count) if count else SEEDS * job.share // 100
        for first in range(0, seeds, BATCH):
            yield name, range(first, min(first + BATCH, seeds))


def _name(value: object) -> str:
    return f"{value[0]}-{value[-1]}" if isinstance(value, range) else str(value)


@pytest.mark.parametrize(("name", "seeds"), [*_batches()], ids=_name)
def test_a_storm_adds_each_update_once_and_shows_none(
    name: str, seeds: range, tmp_path: Path
) -> None:
    """Messages are lost, repeated and delayed, and processes killed at any step."""
    for seed in seeds:
        run = protected_storm(tmp_path / str(seed), seed, JOBS[name])
        with closing(run.cluster):
            try:
                check_protected(run)
            except Exception as error:
                raise AssertionError(f"{name}, seed {seed}: {error}") from error


@pytest.mark.parametrize("name", JOBS)
def test_each_job_without_faults(name: str, tmp_path: Path) -> None:
    """The oracle computes its versions and its ledger again."""
    run = protected_run(tmp_path, 1, JOBS[name])
    with closing(run.cluster):
        finish(run)
        check_protected(run)


def test_the_jobs_share_all_seeds() -> None:
    """None is left out when a job is added."""
    assert sum(job.share for job in JOBS.values()) == 100
