"""The data sets of the experiments, partitioned among agents. No download."""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fedbus.data.digits import digits
from fedbus.data.partition import partition_rows
from fedbus.data.partition.row_assignment import hold_out
from fedbus.data.partition.spec import parse_split

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

WIDTHS = {"digits": (64, 32, 10), "mnist1d": (40, 64, 10)}
"""Inputs, hidden units and classes of the model that is trained on each data set."""
_SHARE = 0.2
"""Share of the rows that no agent trains on."""


@dataclass(frozen=True, slots=True)
class Partitioned:
    """Rows of each agent, as indices into x and y, and the rows that models are measured on."""

    x: Floats
    y: Labels
    agents: tuple[NDArray[np.int64], ...]
    test_x: Floats
    test_y: Labels


def partitioned(  # noqa: PLR0913 - what a partition depends on
    name: str, split: str, agents: int, batch_size: int, seed: int, *, tuning: bool
) -> Partitioned:
    """Partition a data set; each agent gets a batch at least.

    Args:
        split: A sampler of `fedbus.data.partition`, such as `dirichlet:alpha=0.5`.
        tuning: Whether parameters are chosen: then models are measured on rows that are held out of
            the training rows, and no agent has them. The test rows are never used.
    """
    rng = np.random.default_rng(seed)
    x, y, test_x, test_y = _loaded(name)
    if tuning:
        kept, held = hold_out(y, _SHARE, rng)
        x, y, test_x, test_y = x[kept], y[kept], x[held], y[held]
    by, options = parse_split(split)
    rows = partition_rows(by, y, agents, rng, batch_size, options)
    ends = np.cumsum([0, *map(len, rows)])
    order = np.concatenate(rows)
    own = tuple(np.arange(first, last) for first, last in pairwise(ends))
    return Partitioned(x[order], y[order], own, test_x, test_y)


@cache
def _loaded(name: str) -> tuple[Floats, Labels, Floats, Labels]:
    if name == "digits":
        x, y = digits()
        kept, held = hold_out(y, _SHARE, np.random.default_rng(0))
        return x[kept], y[kept], x[held], y[held]
    from mnist1d.data import get_dataset_args, make_dataset  # noqa: PLC0415 - it takes seconds

    made = make_dataset(get_dataset_args())
    x, test_x = (made[part].astype(np.float32) for part in ("x", "x_test"))
    return x, made["y"].astype(np.int64), test_x, made["y_test"].astype(np.int64)
