"""What all samplers share: who gets how many of which rows, and that nobody goes without."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedbus.errors import TrainingError
from fedbus.model.layout import Array

Rows = NDArray[np.int64]
"""Numbers of rows."""
Holds = Sequence[frozenset[int]]
"""For each agent the classes it may have rows of."""
_TINY = 1e-12


def check_enough(rows: int, agents: int, least: int) -> None:
    """Refuse more agents than there are rows for.

    Raises:
        TrainingError: says how many of what.
    """
    if agents < 1 or least < 0 or least * agents > rows:
        raise TrainingError(f"{rows} rows for {agents} agents of at least {least} each")


def check_size(size: int, rows: int, agents: int, least: int) -> None:
    """Refuse partitions that rows do not suffice for, each dealt once, or that are too small.

    Raises:
        TrainingError: says how many of what.
    """
    if size < max(1, least) or size * agents > rows:
        raise TrainingError(
            f"partition_size is {size}: {rows} rows for {agents} agents, and the least is {least}"
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
        cut = round(share * len(rows))
        held.append(rows[:cut])
        kept.append(rows[cut:])
    return rng.permutation(np.concatenate(kept)), rng.permutation(np.concatenate(held))


def cut(rows: Rows, shares: NDArray[np.float64]) -> list[Rows]:
    """Cut rows in pieces of these shares, which add up to one."""
    cuts = np.round(np.cumsum(shares)[:-1] * len(rows)).astype(int)
    return list(np.split(rows, cuts))


def partitions(
    labels: Array, agents: int, size: int, alpha: float, rng: np.random.Generator
) -> list[Rows]:
    """Draw each agent's proportions of classes from Dirichlet(alpha), and `size` rows by them.

    Each row goes to one agent: where a class has none left, the agent's other classes stand in.
    """
    classes, counts = np.unique(labels, return_counts=True)
    left = [rng.permutation(np.flatnonzero(labels == label)) for label in classes]
    hands: list[list[int]] = [[] for _ in range(agents)]
    for hand in hands:
        wishes = rng.dirichlet(np.full(len(classes), alpha)) * counts
        while missing := size - len(hand):
            there = np.array([len(rows) for rows in left])
            weights = (wishes + _TINY) * (there > 0)
            takes = np.minimum(rng.multinomial(missing, weights / weights.sum()), there)
            for number, take in enumerate(takes):
                hand.extend(left[number][:take].tolist())
                left[number] = left[number][take:]
    return shuffled(hands, rng)


def by_class(labels: Array, holds: Holds, rng: np.random.Generator) -> list[list[int]]:
    """Deal each class evenly among those who may have it; chance says who gets one more.

    Every class must be somebody's.
    """
    hands: list[list[int]] = [[] for _ in holds]
    for label in np.unique(labels):
        holders = rng.permutation([a for a, held in enumerate(holds) if int(label) in held])
        rows = rng.permutation(np.flatnonzero(labels == label))
        for agent, part in zip(holders, np.array_split(rows, len(holders)), strict=True):
            hands[agent].extend(part.tolist())
    return hands


def topped_up(
    hands: list[list[int]], least: int, rng: np.random.Generator, labels: Array, holds: Holds
) -> list[Rows]:
    """Let the rich give until everyone has `least` rows, of classes it may have; shuffle all.

    Raises:
        TrainingError: nobody can give an agent what it lacks.
    """
    for agent, hand in enumerate(hands):
        while len(hand) < least:
            donor, place = _gift(hands, holds[agent], least, labels)
            if donor < 0:
                named = ", ".join(map(str, sorted(holds[agent])))
                raise TrainingError(
                    f"agent {agent + 1} has {len(hand)} rows of its classes {named}, and the least "
                    f"is {least}; try fewer agents, more classes for each, or a lower least"
                )
            hand.append(hands[donor].pop(place))
    return shuffled(hands, rng)


def _gift(
    hands: list[list[int]], wanted: frozenset[int], least: int, labels: Array
) -> tuple[int, int]:
    """Find the richest who can spare a row of these classes, and the last such row; (-1, -1)."""
    for donor in sorted(range(len(hands)), key=lambda a: -len(hands[a])):
        if len(hands[donor]) <= least:
            break
        for place in range(len(hands[donor]) - 1, -1, -1):
            if int(labels[hands[donor][place]]) in wanted:
                return donor, place
    return -1, -1


def filled(hands: list[list[int]], least: int, rng: np.random.Generator) -> list[Rows]:
    """Let the richest give until everyone has `least` rows, whichever; shuffle all."""
    for hand in hands:
        while len(hand) < least:
            richest = max(hands, key=len)
            hand.append(richest.pop(int(rng.integers(len(richest)))))
    return shuffled(hands, rng)


def shuffled(hands: Sequence[Sequence[int] | Rows], rng: np.random.Generator) -> list[Rows]:
    """Give each agent its rows in an order of chance."""
    return [rng.permutation(np.array(hand, np.int64)) for hand in hands]


def drawn(
    pool: Sequence[int], each: int, agents: int, rng: np.random.Generator
) -> list[frozenset[int]]:
    """Draw `each` different classes for every agent, all classes about equally often.

    Specs are dealt from one shuffled pack after another; all are dealt once if there are enough
    agents.
    """
    hands: list[set[int]] = [set() for _ in range(agents)]
    pack: list[int] = []
    for hand in hands:
        while len(hand) < each:
            fresh = [spec for spec in pack if spec not in hand]
            if not fresh:
                pack += rng.permutation(pool).tolist()
                continue
            hand.add(fresh[0])
            pack.remove(fresh[0])
    return [frozenset(hand) for hand in hands]
