"""What all samplers share: who gets how many of which rows, and that nobody goes without."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedbus.errors import TrainingError
from fedbus.model.layout import Array

Rows = NDArray[np.int64]
"""Numbers of rows."""
AllowedClasses = Sequence[frozenset[int]]
"""For each agent the classes it may have rows of."""
_TINY = 1e-12


def check_enough(rows: int, agents: int, min_rows: int) -> None:
    """Refuse more agents than there are rows for.

    Raises:
        TrainingError: says how many of what.
    """
    if agents < 1 or min_rows < 0 or min_rows * agents > rows:
        raise TrainingError(f"{rows} rows for {agents} agents of at least {min_rows} each")


def check_size(size: int, rows: int, agents: int, min_rows: int) -> None:
    """Refuse partitions that rows do not suffice for, each dealt once, or that are too small.

    Raises:
        TrainingError: says how many of what.
    """
    if size < max(1, min_rows) or size * agents > rows:
        raise TrainingError(
            f"partition_size is {size}: expected {max(1, min_rows)} to {rows // agents} "
            f"({rows} rows for {agents} agents)"
        )


def check_alpha(name: str, alpha: float) -> None:
    """Refuse what Dirichlet cannot draw from.

    Raises:
        TrainingError: it is not above 0.
    """
    if not 0 < alpha < math.inf:
        raise TrainingError(f"{name} is {alpha}; a number above 0 belongs there")


def hold_out(labels: Array, share: float, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Split row numbers in two, class by class; returns (kept, held out), both shuffled."""
    kept, held = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        split_by_shares = round(share * len(rows))
        held.append(rows[:split_by_shares])
        kept.append(rows[split_by_shares:])
    return rng.permutation(np.concatenate(kept)), rng.permutation(np.concatenate(held))


def split_by_shares(rows: Rows, shares: NDArray[np.float64]) -> list[Rows]:
    """Cut rows in pieces of these shares, which add up to one."""
    cuts = np.round(np.cumsum(shares)[:-1] * len(rows)).astype(int)
    return list(np.split(rows, cuts))


def fixed_size_partitions(
    labels: Array, agents: int, size: int, alpha: float, rng: np.random.Generator
) -> list[Rows]:
    """Draw each agent's proportions of classes from Dirichlet(alpha), and `size` rows by them.

    Each row goes to one agent: where a class has none left, the agent's other classes stand in.
    """
    classes, counts = np.unique(labels, return_counts=True)
    left = [rng.permutation(np.flatnonzero(labels == label)) for label in classes]
    partitions: list[list[int]] = [[] for _ in range(agents)]
    for partition in partitions:
        wishes = rng.dirichlet(np.full(len(classes), alpha)) * counts
        while missing := size - len(partition):
            there = np.array([len(rows) for rows in left])
            weights = (wishes + _TINY) * (there > 0)
            takes = np.minimum(rng.multinomial(missing, weights / weights.sum()), there)
            for number, take in enumerate(takes):
                partition.extend(left[number][:take].tolist())
                left[number] = left[number][take:]
    return shuffled(partitions, rng)


def divide_classes(
    labels: Array, allowed: AllowedClasses, rng: np.random.Generator
) -> list[list[int]]:
    """Deal each class evenly among those who may have it; chance says who gets one more.

    Every class must be somebody's.
    """
    partitions: list[list[int]] = [[] for _ in allowed]
    for label in np.unique(labels):
        holders = rng.permutation([a for a, held in enumerate(allowed) if int(label) in held])
        rows = rng.permutation(np.flatnonzero(labels == label))
        for agent, part in zip(holders, np.array_split(rows, len(holders)), strict=True):
            partitions[agent].extend(part.tolist())
    return partitions


def fill_up_by_class(
    partitions: list[list[int]],
    min_rows: int,
    rng: np.random.Generator,
    labels: Array,
    allowed: AllowedClasses,
) -> list[Rows]:
    """Let the rich give until everyone has `min_rows` rows, of classes it may have; shuffle all.

    Raises:
        TrainingError: nobody can give an agent what it lacks.
    """
    for agent, partition in enumerate(partitions):
        while len(partition) < min_rows:
            donor, place = _find_donor(partitions, allowed[agent], min_rows, labels)
            if donor < 0:
                named = ", ".join(map(str, sorted(allowed[agent])))
                raise TrainingError(
                    f"agent {agent + 1} has {len(partition)} rows of its classes {named}, expected "
                    f"at least {min_rows}; use fewer agents, more classes each, or a lower minimum"
                )
            partition.append(partitions[donor].pop(place))
    return shuffled(partitions, rng)


def _find_donor(
    partitions: list[list[int]], wanted: frozenset[int], min_rows: int, labels: Array
) -> tuple[int, int]:
    """Find the richest who can spare a row of these classes, and the last such row; (-1, -1)."""
    for donor in sorted(range(len(partitions)), key=lambda a: -len(partitions[a])):
        if len(partitions[donor]) <= min_rows:
            break
        for place in range(len(partitions[donor]) - 1, -1, -1):
            if int(labels[partitions[donor][place]]) in wanted:
                return donor, place
    return -1, -1


def fill_up(partitions: list[list[int]], min_rows: int, rng: np.random.Generator) -> list[Rows]:
    """Let the richest give until everyone has `min_rows` rows, whichever; shuffle all."""
    for partition in partitions:
        while len(partition) < min_rows:
            richest = max(partitions, key=len)
            partition.append(richest.pop(int(rng.integers(len(richest)))))
    return shuffled(partitions, rng)


def shuffled(partitions: Sequence[Sequence[int] | Rows], rng: np.random.Generator) -> list[Rows]:
    """Give each agent its rows in an order of chance."""
    return [rng.permutation(np.array(partition, np.int64)) for partition in partitions]


def draw_classes(
    pool: Sequence[int], each: int, agents: int, rng: np.random.Generator
) -> list[frozenset[int]]:
    """Draw `each` different classes for every agent, all classes about equally often.

    Specs are dealt from one shuffled pack after another; all are dealt once if there are enough
    agents.
    """
    partitions: list[set[int]] = [set() for _ in range(agents)]
    pack: list[int] = []
    for partition in partitions:
        while len(partition) < each:
            fresh = [spec for spec in pack if spec not in partition]
            if not fresh:
                pack += rng.permutation(pool).tolist()
                continue
            partition.add(fresh[0])
            pack.remove(fresh[0])
    return [frozenset(partition) for partition in partitions]
