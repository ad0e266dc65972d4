"""Five hundred storms, each followed by the oracle's check of the repository.

A failure names its seed; `FEDBUS_RING_SEED=17 pytest tests/ring/test_storm.py` runs it alone.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from fedbus.simulation.oracle import check_records
from tests.ring.storm import storm

SEEDS = 500
BATCH = 50


def _batches() -> Iterable[range]:
    only = os.environ.get("FEDBUS_RING_SEED")
    if only:
        return [range(int(only), int(only) + 1)]
    return [range(first, first + BATCH) for first in range(0, SEEDS, BATCH)]


@pytest.mark.parametrize("seeds", _batches(), ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_the_records_are_right_after_each_storm(seeds: range, tmp_path: Path) -> None:
    """Loss, duplication, reordering, kills and restarts: the job ends, each update counts once."""
    for seed in seeds:
        cluster = storm(tmp_path / str(seed), seed)
        state = cluster.states["job-1"][-1]
        assert state.phase == "finished", f"seed {seed}: {state.reason}"
        assert cluster.ring.broker.violations == [], f"seed {seed}"
        with cluster.store() as store:
            try:
                check_records(store, cluster.updates)
            except Exception as error:
                raise AssertionError(f"seed {seed}: {error}") from error
            made = [one for one in store.history() if one.record is not None]
            assert len(made) == state.round, f"seed {seed}"
        cluster.close()
