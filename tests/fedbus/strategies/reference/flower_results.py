"""Rounds of updates with Flower's results, read from flower_results.npz."""

from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from tests.fedbus.strategies.sample_round import Floats, SampleRound

AGENTS: Final = (3, 7, 10, 11, 25)
"""Numbers of agents of the rounds that were written."""
LOSS: Final = 0.7
"""The loss that Flower's q-FedAvg used for each of its clients."""


@cache
def flower_round(agents: int) -> SampleRound:
    """Return the round of this number of agents."""
    with np.load(Path(__file__).parent / "flower_results.npz") as file:
        base, weights = file[f"{agents}/base"], file[f"{agents}/weights"]
        examples = [int(n) for n in file[f"{agents}/examples"]]
    return SampleRound(
        base=base,
        updates=weights - base,
        tensors=(40, 7, 3),
        examples=examples,
        steps=[1] * agents,
        losses=[LOSS] * agents,
    )


@cache
def flower_result(agents: int, rule: str) -> Floats:
    """Return the new weights that Flower computed."""
    with np.load(Path(__file__).parent / "flower_results.npz") as file:
        result: Floats = file[f"{agents}/{rule}"]
    return result
