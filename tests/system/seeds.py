"""Seeds of the fault tests, and the random choices of each.

FEDBUS_STORM_SEEDS=20 runs twenty seeds; FEDBUS_STORM_SEED=17 runs seed 17 alone.
"""

import os
from collections.abc import Mapping
from random import Random

import pytest

FEW = 2


def seeds() -> list[int]:
    """List the seeds to run."""
    only = os.environ.get("FEDBUS_STORM_SEED")
    return [int(only)] if only else list(range(int(os.environ.get("FEDBUS_STORM_SEEDS", FEW))))


def fault_rng(what: str, seed: int) -> Random:
    """Return the random number generator of one test and seed."""
    return Random(f"{what} {seed}")


def point_of(what: str, points: Mapping[str, int], seed: int) -> str:
    """Return the step at which a node is killed, as FEDBUS_FAULT_AT takes it.

    Consecutive seeds get different steps. `points` has the least number of times each step occurs.
    """
    steps = sorted(points)
    Random(what).shuffle(steps)
    step = steps[seed % len(steps)]
    return f"{step}:{fault_rng(what, seed).randint(1, points[step])}"


storm = pytest.mark.parametrize("seed", seeds())
