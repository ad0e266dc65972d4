"""Samplers by size: how many rows an agent gets, whatever they are."""

import numpy as np
from numpy.typing import NDArray

from fedbus.data.split.dealing import Rows, check_alpha, check_enough, cut, filled, shuffled
from fedbus.data.split.labels import dirichlet
from fedbus.errors import TrainingError
from fedbus.layout import Array

_ROUNDS = 200
_TINY = 1e-12


def iid(labels: Array, agents: int, rng: np.random.Generator, least: int = 1) -> list[Rows]:
    """Deal rows by chance alone, to each agent as many (or one less).

    Raises:
        TrainingError: there are not enough rows.
    """
    check_enough(len(labels), agents, least)
    return list(np.array_split(rng.permutation(len(labels)), agents))


def quantity(
    labels: Array, agents: int, rng: np.random.Generator, least: int = 1, alpha: float = 0.5
) -> list[Rows]:
    """Deal rows by chance, in numbers drawn from Dirichlet(alpha).

    Raises:
        TrainingError: alpha is not above 0, or there are not enough rows.
    """
    check_enough(len(labels), agents, least)
    check_alpha("alpha", alpha)
    parts = cut(rng.permutation(len(labels)), _shares(agents, alpha, rng))
    return filled([part.tolist() for part in parts], least, rng)


def sample_quantity(
    labels: Array, agents: int, rng: np.random.Generator, least: int = 1, alpha: float = 0.5
) -> list[Rows]:
    """Deal numbers drawn from Dirichlet(alpha), of each class as many as there are in all.

    Raises:
        TrainingError: alpha is not above 0, or there are not enough rows.
    """
    check_enough(len(labels), agents, least)
    check_alpha("alpha", alpha)
    shares = _shares(agents, alpha, rng)
    hands: list[list[int]] = [[] for _ in range(agents)]
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        for hand, part in zip(hands, cut(rows, shares), strict=True):
            hand.extend(part.tolist())
    return filled(hands, least, rng)


def distribution(  # noqa: PLR0913, PLR0917 - as all samplers, with two kinds of unevenness
    labels: Array,
    agents: int,
    rng: np.random.Generator,
    least: int = 1,
    alpha: float = 0.5,
    size_alpha: float = 0.5,
) -> list[Rows]:
    """Skew both: numbers from Dirichlet(size_alpha), each agent's classes from Dirichlet(alpha).

    All rows are dealt, so that what was drawn is met as nearly as they allow.

    Raises:
        TrainingError: an alpha is not above 0, or there are not enough rows.
    """
    check_enough(len(labels), agents, least)
    check_alpha("alpha", alpha)
    check_alpha("size_alpha", size_alpha)
    classes, counts = np.unique(labels, return_counts=True)
    sizes = _shares(agents, size_alpha, rng) * len(labels)
    wishes = rng.dirichlet(np.full(len(classes), alpha), agents) + _TINY
    table = _fitted(wishes, sizes + _TINY, counts.astype(float))
    hands: list[list[int]] = [[] for _ in range(agents)]
    for label, column in zip(classes, table.T, strict=True):
        rows = rng.permutation(np.flatnonzero(labels == label))
        for hand, part in zip(hands, cut(rows, column / column.sum()), strict=True):
            hand.extend(part.tolist())
    return filled(hands, least, rng)


def mixed(  # noqa: PLR0913, PLR0917 - as all samplers, with how many are which
    labels: Array,
    agents: int,
    rng: np.random.Generator,
    least: int = 1,
    non_iid: int | None = None,
    alpha: float = 0.3,
) -> list[Rows]:
    """Deal to the last `non_iid` agents (half) by Dirichlet(alpha), to the others by chance.

    Raises:
        TrainingError: there are not so many agents, or not enough rows.
    """
    check_enough(len(labels), agents, least)
    skewed = agents // 2 if non_iid is None else non_iid
    if not 0 <= skewed <= agents:
        raise TrainingError(f"non_iid is {skewed}; there are {agents} agents")
    even = agents - skewed
    if not skewed:
        return iid(labels, agents, rng, least)
    if not even:
        return dirichlet(labels, agents, rng, least, alpha)
    rows = rng.permutation(len(labels))
    border = max(even * least, min(len(rows) - skewed * least, len(rows) * even // agents))
    first, rest = rows[:border], rows[border:]
    dealt = dirichlet(labels[rest], skewed, rng, least, alpha)
    return [*np.array_split(first, even), *(rest[hand] for hand in dealt)]


def all_inclusive(
    labels: Array, agents: int, rng: np.random.Generator, least: int = 1
) -> list[Rows]:
    """Give everyone all rows, in an order of its own.

    Raises:
        TrainingError: there are not so many rows.
    """
    check_enough(len(labels) * max(agents, 0), agents, least)
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
