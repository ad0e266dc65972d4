"""Samplers that skew the sizes of partitions (quantity skew), and IID ones.

All raise TrainingError for too few rows, and for an option out of range.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedbus.data.partition.by_label import dirichlet
from fedbus.data.partition.row_assignment import (
    Rows,
    check_alpha,
    check_enough,
    check_size,
    fill_up,
    shuffled,
    split_by_shares,
)
from fedbus.errors import TrainingError
from fedbus.model.layout import Array

_FITTING_STEPS = 200
_TINY = 1e-12


def iid(
    labels: Array,
    agents: int,
    rng: np.random.Generator,
    min_rows: int = 1,
    partition_size: int | None = None,
) -> list[Rows]:
    """Assign rows at random, the same number to each agent (or one less).

    With a `partition_size` each agent has that many rows; further rows have no agent.
    """
    check_enough(len(labels), agents, min_rows)
    rows = rng.permutation(len(labels))
    if partition_size is not None:
        check_size(partition_size, len(rows), agents, min_rows)
        rows = rows[: partition_size * agents]
    return list(np.array_split(rows, agents))


def quantity(
    labels: Array, agents: int, rng: np.random.Generator, min_rows: int = 1, alpha: float = 0.5
) -> list[Rows]:
    """Assign rows at random, in numbers drawn from Dirichlet(alpha).

    The quantity skew of NIID-Bench (Li et al., 2021, arXiv:2102.02079).
    """
    check_enough(len(labels), agents, min_rows)
    check_alpha("alpha", alpha)
    parts = split_by_shares(rng.permutation(len(labels)), _shares(agents, alpha, rng))
    return fill_up([part.tolist() for part in parts], min_rows, rng)


def sample_quantity(
    labels: Array, agents: int, rng: np.random.Generator, min_rows: int = 1, alpha: float = 0.5
) -> list[Rows]:
    """Draw sizes from Dirichlet(alpha), and give each agent the class proportions of all rows.

    In Plato an agent's classes are random, and it also gets rows that other agents have.
    """
    check_enough(len(labels), agents, min_rows)
    check_alpha("alpha", alpha)
    shares = _shares(agents, alpha, rng)
    partitions: list[list[int]] = [[] for _ in range(agents)]
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        for partition, part in zip(partitions, split_by_shares(rows, shares), strict=True):
            partition.extend(part.tolist())
    return fill_up(partitions, min_rows, rng)


def distribution(  # noqa: PLR0913, PLR0917 - the parameters of all samplers, and two options
    labels: Array,
    agents: int,
    rng: np.random.Generator,
    min_rows: int = 1,
    alpha: float = 0.5,
    size_alpha: float = 0.5,
) -> list[Rows]:
    """Skew both: sizes from Dirichlet(size_alpha), each agent's classes from Dirichlet(alpha).

    Each row is assigned once, so the result fits the drawn numbers as closely as the rows allow; in
    Plato agents draw independently and may have the same rows.
    """
    check_enough(len(labels), agents, min_rows)
    check_alpha("alpha", alpha)
    check_alpha("size_alpha", size_alpha)
    classes, counts = np.unique(labels, return_counts=True)
    sizes = _shares(agents, size_alpha, rng) * len(labels)
    proportions = rng.dirichlet(np.full(len(classes), alpha), agents) + _TINY
    table = _fitted(proportions, sizes + _TINY, counts.astype(float))
    partitions: list[list[int]] = [[] for _ in range(agents)]
    for label, column in zip(classes, table.T, strict=True):
        rows = rng.permutation(np.flatnonzero(labels == label))
        for partition, part in zip(
            partitions, split_by_shares(rows, column / column.sum()), strict=True
        ):
            partition.extend(part.tolist())
    return fill_up(partitions, min_rows, rng)


def mixed(  # noqa: PLR0913, PLR0917 - the parameters of all samplers, and three options
    labels: Array,
    agents: int,
    rng: np.random.Generator,
    min_rows: int = 1,
    non_iid: int | Sequence[int] | None = None,
    alpha: float = 0.3,
    partition_size: int | None = None,
) -> list[Rows]:
    """Assign rows to some agents by Dirichlet(alpha), to the others at random.

    `non_iid` is the number of skewed agents (the first ones; by default half), or a list of agents,
    the first being 1. With a `partition_size` each agent has that many rows; further rows have no
    agent.
    """
    check_enough(len(labels), agents, min_rows)
    skewed = _numbered(agents // 2 if non_iid is None else non_iid, agents)
    even = agents - len(skewed)
    if not skewed:
        return iid(labels, agents, rng, min_rows, partition_size)
    if not even:
        return dirichlet(labels, agents, rng, min_rows, alpha, partition_size)
    rows = rng.permutation(len(labels))
    if partition_size is None:
        fewest, most = even * min_rows, len(rows) - len(skewed) * min_rows
        border = max(fewest, min(most, len(rows) * even // agents))
    else:
        check_size(partition_size, len(rows), agents, min_rows)
        border = even * partition_size
    plain = iter(np.array_split(rows[:border], even))
    rest = rows[border:]
    uneven = iter(dirichlet(labels[rest], len(skewed), rng, min_rows, alpha, partition_size))
    return [rest[next(uneven)] if agent in skewed else next(plain) for agent in range(agents)]


def _numbered(non_iid: int | Sequence[int], agents: int) -> frozenset[int]:
    """Return the skewed agents, the first being 0."""
    if isinstance(non_iid, int):
        if not 0 <= non_iid <= agents:
            raise TrainingError(
                f"non_iid is {non_iid}: expected 0 to {agents}, the number of agents"
            )
        return frozenset(range(non_iid))
    found = frozenset(number - 1 for number in non_iid)
    if len(found) != len(non_iid) or not found <= frozenset(range(agents)):
        shown = ", ".join(map(str, non_iid))
        raise TrainingError(f"non_iid is {shown}: expected agents from 1 to {agents}, each once")
    return found


def all_inclusive(
    labels: Array, agents: int, rng: np.random.Generator, min_rows: int = 1
) -> list[Rows]:
    """Assign all rows to every agent, each in its own order."""
    check_enough(len(labels) * max(agents, 0), agents, min_rows)
    return shuffled([range(len(labels))] * agents, rng)


def _shares(agents: int, alpha: float, rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.dirichlet(np.full(agents, alpha))


def _fitted(
    proportions: NDArray[np.float64], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Scale a table to given sums of its rows and columns (iterative proportional fitting)."""
    table = proportions
    for _ in range(_FITTING_STEPS):
        table = table * (rows / table.sum(axis=1))[:, None]
        table = table * (columns / table.sum(axis=0))
    return table
