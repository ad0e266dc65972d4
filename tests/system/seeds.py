"""How many seeds a fault is tried with, and what each draws.

FEDBUS_STORM_SEEDS=20 tries twenty; FEDBUS_STORM_SEED=17 replays that one.
"""

import os
from collections.abc import Mapping
from random import Random

import pytest

FEW = 2


def seeds() -> list[int]:
    """List the seeds to try."""
    alone = os.environ.get("FEDBUS_STORM_SEED")
    return [int(alone)] if alone else list(range(int(os.environ.get("FEDBUS_STORM_SEEDS", FEW))))


def chance_of(what: str, seed: int) -> Random:
    """Make the chance by which one test draws its fault."""
    return Random(f"{what} {seed}")


def point_of(what: str, points: Mapping[str, int], seed: int) -> str:
    """Draw a step to be killed at, as FEDBUS_FAULT_AT has it; no two of few seeds draw the same.

    `points` says how often each step is sure to come.
    """
    steps = sorted(points)
    Random(what).shuffle(steps)
    step = steps[seed % len(steps)]
    return f"{step}:{chance_of(what, seed).randint(1, points[step])}"


storm = pytest.mark.parametrize("seed", seeds())
