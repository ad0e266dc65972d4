"""Samplers by size: how many rows an agent gets, whatever they are."""

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

_ROUNDS = 200
_TINY = 1e-12


def iid(
    labels: Array,
    agents: int,
    rng: np.random.Generator,
    min_rows: int = 1,
    partition_size: int | None = None,
) -> list[Rows]:
    """Deal rows by chance alone, to each agent as many (or one less).

    With a `partition_size` everyone has so many; the rows beyond go to nobody.

    Raises:
        TrainingError: there are not enough rows.
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
    """Deal rows by chance, in numbers drawn from Dirichlet(alpha).

    Raises:
        TrainingError: alpha is not above 0, or there are not enough rows.
    """
    check_enough(len(labels), agents, min_rows)
    check_alpha("alpha", alpha)
    parts = split_by_shares(rng.permutation(len(labels)), _shares(agents, alpha, rng))
    return fill_up([part.tolist() for part in parts], min_rows, rng)


def sample_quantity(
    labels: Array, agents: int, rng: np.random.Generator, min_rows: int = 1, alpha: float = 0.5
) -> list[Rows]:
    """Deal numbers drawn from Dirichlet(alpha), and each agent the classes as they are in all.

    Plato leaves an agent's classes to chance, and fills up with rows that others have as well.

    Raises:
        TrainingError: alpha is not above 0, or there are not enough rows.
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


def distribution(  # noqa: PLR0913, PLR0917 - as all samplers, with two kinds of unevenness
    labels: Array,
    agents: int,
    rng: np.random.Generator,
    min_rows: int = 1,
    alpha: float = 0.5,
    size_alpha: float = 0.5,
) -> list[Rows]:
    """Skew both: numbers from Dirichlet(size_alpha), each agent's classes from Dirichlet(alpha).

    All rows are dealt, each once, so that what was drawn is met as nearly as they allow; in Plato
    agents draw for themselves, and may have the same rows.

    Raises:
        TrainingError: an alpha is not above 0, or there are not enough rows.
    """
    check_enough(len(labels), agents, min_rows)
    check_alpha("alpha", alpha)
    check_alpha("size_alpha", size_alpha)
    classes, counts = np.unique(labels, return_counts=True)
    sizes = _shares(agents, size_alpha, rng) * len(labels)
    wishes = rng.dirichlet(np.full(len(classes), alpha), agents) + _TINY
    table = _fitted(wishes, sizes + _TINY, counts.astype(float))
    partitions: list[list[int]] = [[] for _ in range(agents)]
    for label, column in zip(classes, table.T, strict=True):
        rows = rng.permutation(np.flatnonzero(labels == label))
        for partition, part in zip(
            partitions, split_by_shares(rows, column / column.sum()), strict=True
        ):
            partition.extend(part.tolist())
    return fill_up(partitions, min_rows, rng)


def mixed(  # noqa: PLR0913, PLR0917 - as all samplers, with how many are which
    labels: Array,
    agents: int,
    rng: np.random.Generator,
    min_rows: int = 1,
    non_iid: int | Sequence[int] | None = None,
    alpha: float = 0.3,
    partition_size: int | None = None,
) -> list[Rows]:
    """Deal to the first `non_iid` agents (half) by Dirichlet(alpha), to the others by chance.

    Or to those of these numbers, the first being 1. With a `partition_size` everyone has so many
    rows; those beyond go to nobody.

    Raises:
        TrainingError: there are no such agents, or not enough rows.
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
    dealt = iter(dirichlet(labels[rest], len(skewed), rng, min_rows, alpha, partition_size))
    return [rest[next(dealt)] if agent in skewed else next(plain) for agent in range(agents)]


def _numbered(non_iid: int | Sequence[int], agents: int) -> frozenset[int]:
    """Find the agents meant, from 0."""
    if isinstance(non_iid, int):
        if not 0 <= non_iid <= agents:
            raise TrainingError(f"non_iid is {non_iid}; there are {agents} agents")
        return frozenset(range(non_iid))
    found = frozenset(number - 1 for number in non_iid)
    if len(found) != len(non_iid) or not found <= frozenset(range(agents)):
        said = ", ".join(map(str, non_iid))
        raise TrainingError(f"non_iid is {said}; agents have the numbers 1 to {agents}, each once")
    return found


def all_inclusive(
    labels: Array, agents: int, rng: np.random.Generator, min_rows: int = 1
) -> list[Rows]:
    """Give everyone all rows, in an order of its own.

    Raises:
        TrainingError: there are not so many rows.
    """
    check_enough(len(labels) * max(agents, 0), agents, min_rows)
    return shuffled([range(len(labels))] * agents, rng)


def _shares(agents: int, alpha: float, rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.dirichlet(np.full(agents, alpha))


def _fitted(
    wishes: NDArray[np.float64], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Scale a table until its rows and columns have these sums (iterative proportional fitting)."""
    table = wishes
    for _ in range(_ROUNDS):
        table = table * (rows / table.sum(axis=1))[:, None]
        table = table * (columns / table.sum(axis=0))
    return table
