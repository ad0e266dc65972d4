"""Steps that samplers share: checks, splits by shares, and minimum sizes."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedbus.errors import TrainingError
from fedbus.model.layout import Array

Rows = NDArray[np.int64]
"""Row numbers, the first being 0."""
AllowedClasses = Sequence[frozenset[int]]
"""For each agent the classes that it may have rows of."""
_TINY = 1e-12


def check_enough(rows: int, agents: int, min_rows: int) -> None:
    """Raise TrainingError, with the numbers, for more agents than there are rows for."""
    if agents < 1 or min_rows < 0 or min_rows * agents > rows:
        raise TrainingError(f"{rows} rows for {agents} agents of at least {min_rows} each")


def check_size(size: int, rows: int, agents: int, min_rows: int) -> None:
    """Raise TrainingError for a partition that needs too many rows, or is below the minimum."""
    if size < max(1, min_rows) or size * agents > rows:
        raise TrainingError(
            f"partition_size is {size}: expected {max(1, min_rows)} to {rows // agents} "
            f"({rows} rows for {agents} agents)"
        )


def check_alpha(name: str, alpha: float) -> None:
    """Raise TrainingError unless a concentration of the Dirichlet distribution is above 0."""
    if not 0 < alpha < math.inf:
        raise TrainingError(f"{name} is {alpha}: expected a number above 0")


def hold_out(labels: Array, share: float, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Split row numbers in two, stratified by class; return (kept, held out), both shuffled."""
    kept, held = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        count = round(share * len(rows))
        held.append(rows[:count])
        kept.append(rows[count:])
    return rng.permutation(np.concatenate(kept)), rng.permutation(np.concatenate(held))


def split_by_shares(rows: Rows, shares: NDArray[np.float64]) -> list[Rows]:
    """Split rows by shares that add up to 1."""
    cuts = np.round(np.cumsum(shares)[:-1] * len(rows)).astype(int)
    return list(np.split(rows, cuts))


def fixed_size_partitions(
    labels: Array, agents: int, size: int, alpha: float, rng: np.random.Generator
) -> list[Rows]:
    """Draw each agent's class proportions from Dirichlet(alpha), and `size` rows by them.

    Each row has at most one agent: where no row of a class is left, other classes of the agent's
    proportions replace it.
    """
    classes, counts = np.unique(labels, return_counts=True)
    left = [rng.permutation(np.flatnonzero(labels == label)) for label in classes]
    partitions: list[list[int]] = [[] for _ in range(agents)]
    for partition in partitions:
        proportions = rng.dirichlet(np.full(len(classes), alpha)) * counts
        while missing := size - len(partition):
            available = np.array([len(rows) for rows in left])
            weights = (proportions + _TINY) * (available > 0)
            takes = np.minimum(rng.multinomial(missing, weights / weights.sum()), available)
            for number, take in enumerate(takes):
                partition.extend(left[number][:take].tolist())
                left[number] = left[number][take:]
    return shuffled(partitions, rng)


def divide_classes(
    labels: Array, allowed: AllowedClasses, rng: np.random.Generator
) -> list[list[int]]:
    """Divide each class evenly among the agents that may have it; remainders are random.

    Every class must have an agent.
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
    """Move rows to agents with fewer than `min_rows`, of classes that they may have; shuffle all.

    Raises:
        TrainingError: no agent can spare such a row.
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
    """Find the largest partition with such a row to spare, and the row's place; else (-1, -1)."""
    for donor in sorted(range(len(partitions)), key=lambda a: -len(partitions[a])):
        if len(partitions[donor]) <= min_rows:
            break
        for place in range(len(partitions[donor]) - 1, -1, -1):
            if int(labels[partitions[donor][place]]) in wanted:
                return donor, place
    return -1, -1


def fill_up(partitions: list[list[int]], min_rows: int, rng: np.random.Generator) -> list[Rows]:
    """Move random rows of the largest partitions to those below `min_rows`; shuffle all."""
    for partition in partitions:
        while len(partition) < min_rows:
            largest = max(partitions, key=len)
            partition.append(largest.pop(int(rng.integers(len(largest)))))
    return shuffled(partitions, rng)


def shuffled(partitions: Sequence[Sequence[int] | Rows], rng: np.random.Generator) -> list[Rows]:
    """Return each agent's rows in random order."""
    return [rng.permutation(np.array(partition, np.int64)) for partition in partitions]


def draw_classes(
    pool: Sequence[int], each: int, agents: int, rng: np.random.Generator
) -> list[frozenset[int]]:
    """Draw `each` different classes for every agent, all classes about equally often.

    Classes are drawn without replacement until all have been, so each is drawn if agents suffice.
    """
    draw_classes: list[set[int]] = [set() for _ in range(agents)]
    left: list[int] = []
    for classes in draw_classes:
        while len(classes) < each:
            candidates = [label for label in left if label not in classes]
            if not candidates:
                left += rng.permutation(pool).tolist()
                continue
            classes.add(candidates[0])
            left.remove(candidates[0])
    return [frozenset(classes) for classes in draw_classes]
