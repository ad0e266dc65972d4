"""Samplers that skew the classes of agents (label skew).

All raise TrainingError for too few rows, for an option out of range, and if a class would have no
agent, or an agent fewer than `min_rows` rows of its classes.
"""

from collections.abc import Sequence

import numpy as np

from fedbus.data.partition.row_assignment import (
    Rows,
    check_alpha,
    check_enough,
    check_size,
    divide_classes,
    draw_classes,
    fill_up,
    fill_up_by_class,
    fixed_size_partitions,
    split_by_shares,
)
from fedbus.errors import TrainingError
from fedbus.model.layout import Array


def dirichlet(  # noqa: PLR0913, PLR0917 - the parameters of all samplers, and two options
    labels: Array,
    agents: int,
    rng: np.random.Generator,
    min_rows: int = 1,
    alpha: float = 0.3,
    partition_size: int | None = None,
) -> list[Rows]:
    """Divide each class among the agents by shares drawn from Dirichlet(alpha).

    As in Yurochkin et al. (2019, arXiv:1905.12022), NIID-Bench and most frameworks: all rows are
    assigned, so agents also differ in size. With a `partition_size` each agent has that many rows,
    and draws its class proportions from Dirichlet(alpha), as in Hsu et al. (2019, arXiv:1909.06335)
    and in Plato, whose default alpha is 1; further rows have no agent.

    The smaller `alpha`, the fewer classes an agent has. Agents with fewer than `min_rows` rows get
    rows of the agents with the most.
    """
    check_enough(len(labels), agents, min_rows)
    check_alpha("alpha", alpha)
    if partition_size is not None:
        check_size(partition_size, len(labels), agents, min_rows)
        return fixed_size_partitions(labels, agents, partition_size, alpha, rng)
    partitions: list[list[int]] = [[] for _ in range(agents)]
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        shares = rng.dirichlet(np.full(agents, alpha))
        for partition, part in zip(partitions, split_by_shares(rows, shares), strict=True):
            partition.extend(part.tolist())
    return fill_up(partitions, min_rows, rng)


def shards(
    labels: Array,
    agents: int,
    rng: np.random.Generator,
    min_rows: int = 1,
    shards_per_agent: int = 2,
) -> list[Rows]:
    """Sort rows by class, split them into shards of one size, and assign each agent some shards.

    As in McMahan et al. (2017), "Communication-Efficient Learning of Deep Networks from
    Decentralized Data" (arXiv:1602.05629), with 2 shards for each agent.
    """
    check_enough(len(labels), agents, min_rows)
    shard_count = agents * shards_per_agent
    if shards_per_agent < 1 or shard_count > len(labels):
        raise TrainingError(
            f"shards_per_agent is {shards_per_agent}: expected 1 to {len(labels) // agents} "
            f"({len(labels)} rows for {agents} agents)"
        )
    order = rng.permutation(len(labels))
    in_order = order[np.argsort(labels[order], kind="stable")]
    assigned = rng.permutation(shard_count).reshape(agents, shards_per_agent)
    pieces = np.array_split(in_order, shard_count)
    partitions = [np.concatenate([pieces[number] for number in numbers]) for numbers in assigned]
    if (fewest := min(map(len, partitions))) < min_rows:
        raise TrainingError(f"an agent gets {fewest} rows, expected at least {min_rows}")
    return [rng.permutation(partition) for partition in partitions]


def label_quantity(
    labels: Array,
    agents: int,
    rng: np.random.Generator,
    min_rows: int = 1,
    classes_per_agent: int = 2,
) -> list[Rows]:
    """Assign each agent a fixed number of classes; the agents of a class share its rows evenly.

    As `#C=k` in NIID-Bench (arXiv:2102.02079).
    """
    check_enough(len(labels), agents, min_rows)
    classes: list[int] = np.unique(labels).tolist()
    _check_each(classes_per_agent, len(classes))
    if agents * classes_per_agent < len(classes):
        raise TrainingError(
            f"{agents} agents of {classes_per_agent} classes cannot have all {len(classes)} classes"
        )
    allowed = draw_classes(classes, classes_per_agent, agents, rng)
    return fill_up_by_class(divide_classes(labels, allowed, rng), min_rows, rng, labels, allowed)


def mixed_label_quantity(  # noqa: PLR0913, PLR0917 - the parameters of all samplers, and four options
    labels: Array,
    agents: int,
    rng: np.random.Generator,
    min_rows: int = 1,
    classes_per_agent: int = 2,
    anchor_classes: Sequence[int] | None = None,
    consistent: int | None = None,
    keep_anchor: int = 1,
) -> list[Rows]:
    """Assign the anchor classes to `consistent` agents (by default half), others to the rest.

    The consistent agents are the first ones; Plato draws them at random. The other agents draw
    their classes from the other classes and `keep_anchor` anchor classes; every class has an agent.
    """
    check_enough(len(labels), agents, min_rows)
    classes: list[int] = np.unique(labels).tolist()
    _check_each(classes_per_agent, len(classes))
    anchors = (
        sorted(rng.choice(classes, classes_per_agent, replace=False).tolist())
        if anchor_classes is None
        else list(anchor_classes)
    )
    same = max(1, agents // 2) if consistent is None else consistent
    if len(set(anchors)) != classes_per_agent or not set(anchors) <= set(classes):
        raise TrainingError(
            f"anchor_classes is {_shown(anchors)}: expected {classes_per_agent} of "
            f"{_shown(classes)}"
        )
    if not 1 <= same <= agents or not 0 <= keep_anchor <= classes_per_agent:
        raise TrainingError(
            f"expected consistent from 1 to {agents} and keep_anchor from 0 to "
            f"{classes_per_agent}, got {same} and {keep_anchor}"
        )
    kept = rng.choice(anchors, keep_anchor, replace=False).tolist()
    pool = [c for c in classes if c not in anchors] + kept
    others = agents - same
    if (others and len(pool) < classes_per_agent) or others * classes_per_agent < len(pool) - len(
        kept
    ):
        raise TrainingError(
            f"{others} other agents of {classes_per_agent} classes cannot have all the other "
            f"{len(pool) - len(kept)} classes"
        )
    own_classes = _covering(pool, kept, classes_per_agent, others, rng)
    allowed = [frozenset(anchors)] * same + own_classes
    return fill_up_by_class(divide_classes(labels, allowed, rng), min_rows, rng, labels, allowed)


def _covering(
    pool: list[int], spare: list[int], each: int, agents: int, rng: np.random.Generator
) -> list[frozenset[int]]:
    """Draw classes so that every class except the spare ones has an agent."""
    allowed = draw_classes(pool, each, agents, rng)
    needed = set(pool) - set(spare)
    for missing in sorted(needed - set().union(*allowed)):
        # Replace a spare class, or one that several agents have.
        for agent, held in enumerate(allowed):
            rest = [c for c in sorted(held) if c in spare or sum(c in h for h in allowed) > 1]
            if rest:
                allowed[agent] = held - {rest[0]} | {missing}
                break
    return allowed


def orthogonal(  # noqa: PLR0913, PLR0917 - the parameters of all samplers, and three options
    labels: Array,
    agents: int,
    rng: np.random.Generator,
    min_rows: int = 1,
    institutions: int | Sequence[Sequence[int]] = 2,
    alpha: float | None = None,
    partition_size: int | None = None,
) -> list[Rows]:
    """Assign disjoint classes to institutions; of n institutions each has every n-th agent.

    Within an institution rows are assigned at random, or by Dirichlet(alpha) of its classes; with a
    `partition_size` each of its agents has that many rows.
    """
    check_enough(len(labels), agents, min_rows)
    classes: list[int] = np.unique(labels).tolist()
    owned = _owned(institutions, classes)
    if len(owned) > agents:
        raise TrainingError(f"{len(owned)} institutions need as many agents, got {agents}")
    partitions: list[Rows] = [np.empty(0, np.int64)] * agents
    for number, own_classes in enumerate(owned):
        members = range(number, agents, len(owned))
        rows = rng.permutation(np.flatnonzero(np.isin(labels, own_classes)))
        if len(rows) < min_rows * len(members):
            raise TrainingError(
                f"institution {number + 1} has {len(rows)} rows of classes {_shown(own_classes)} "
                "for "
                f"{len(members)} agents of at least {min_rows} each"
            )
        if partition_size is not None:
            check_size(partition_size, len(rows), len(members), min_rows)
            if alpha is None:
                rows = rows[: partition_size * len(members)]
        if alpha is None:
            parts = list(np.array_split(rows, len(members)))
        else:
            inside = dirichlet(labels[rows], len(members), rng, min_rows, alpha, partition_size)
            parts = [rows[partition] for partition in inside]
        for agent, partition in zip(members, parts, strict=True):
            partitions[agent] = partition
    return partitions


def _owned(institutions: int | Sequence[Sequence[int]], classes: list[int]) -> list[list[int]]:
    if isinstance(institutions, int):
        if not 1 <= institutions <= len(classes):
            raise TrainingError(f"institutions is {institutions}: expected 1 to {len(classes)}")
        return [part.tolist() for part in np.array_split(classes, institutions)]
    flat = [number for own_classes in institutions for number in own_classes]
    if sorted(flat) != classes or not all(institutions):
        raise TrainingError(
            f"institutions have the classes {_shown(flat)}: expected {_shown(classes)}, each once"
        )
    return [list(own_classes) for own_classes in institutions]


def _check_each(each: int, classes: int) -> None:
    if not 1 <= each <= classes:
        raise TrainingError(f"classes_per_agent is {each}: expected 1 to {classes}")


def _shown(classes: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(classes)))
