"""Strategies with state, with coefficients, or with arrays on agents, in storms, and the oracle.

A failure names its strategy and seed: `FEDBUS_RING_SEED=17 pytest tests/ring/test_strategy_storm.py
-k scaffold` runs it alone. FEDBUS_RING_SEEDS=200 runs that many seeds of each strategy.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ring.ring_cluster import RingCluster
from tests.ring.strategy_storm import (
    AGENTS,
    POINTS,
    check_strategy,
    kill_at,
    run_strategy,
    strategy_storm,
)

SEEDS = {"fedavg": 20, "fedadam": 40, "multi-krum": 20, "scaffold": 60}
BATCH = 20
BACK_SECONDS = 25.0
"""Longer than it takes to give a collector up, so that another one runs the round."""


def _batches() -> Iterator[tuple[str, range]]:
    only, more = os.environ.get("FEDBUS_RING_SEED"), os.environ.get("FEDBUS_RING_SEEDS")
    for strategy, seeds in SEEDS.items():
        if only:
            yield strategy, range(int(only), int(only) + 1)
            continue
        count = int(more or seeds)
        for first in range(0, count, BATCH):
            yield strategy, range(first, min(first + BATCH, count))


def _name(value: object) -> str:
    return f"{value[0]}-{value[-1]}" if isinstance(value, range) else str(value)


@pytest.mark.parametrize(("strategy", "seeds"), [*_batches()], ids=_name)
def test_no_round_of_a_strategy_repeats_or_loses_anything(
    strategy: str, seeds: range, tmp_path: Path
) -> None:
    """Versions, states and coefficients are what a second implementation computes."""
    for seed in seeds:
        cluster = strategy_storm(tmp_path / str(seed), seed, strategy)
        try:
            check_strategy(cluster, strategy)
        except Exception as error:
            raise AssertionError(f"{strategy}, seed {seed}: {error}") from error
        cluster.close()


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    ("role", "step"), [(role, step) for role, points in POINTS.items() for step in points]
)
def test_a_kill_at_each_step_changes_no_control_variate(
    role: str, step: str, count: int, tmp_path: Path
) -> None:
    """SCAFFOLD keeps arrays on agents and at the server: both are what the counted updates make."""
    cluster = RingCluster(tmp_path, seed=count, agents=AGENTS, collectors=2, trains=True)
    killed = kill_at(cluster, role, step, count, BACK_SECONDS)
    run_strategy(cluster, "scaffold", rounds=3)
    check_strategy(cluster, "scaffold")
    assert len(killed) == 1
    cluster.close()
