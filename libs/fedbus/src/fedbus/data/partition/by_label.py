"""Samplers by class: which classes an agent has rows of."""

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


def dirichlet(  # noqa: PLR0913, PLR0917 - as all samplers, with what some share
    labels: Array,
    agents: int,
    rng: np.random.Generator,
    min_rows: int = 1,
    alpha: float = 0.3,
    partition_size: int | None = None,
) -> list[Rows]:
    """Deal each class in shares drawn from Dirichlet(alpha) over the agents.

    So do Yurochkin et al. (arXiv 1905.12022) and NIID-Bench, and most frameworks after them: all
    rows are dealt, and agents differ in size as well. With a `partition_size` all agents have so
    many rows, of classes in proportions that each draws from Dirichlet(alpha), as in Hsu et al.
    (arXiv 1909.06335) and in Plato, whose alpha is 1 by default; the rows beyond go to nobody.

    The smaller `alpha`, the fewer classes an agent sees. Nobody goes without: the richest give
    until everyone has `min_rows` rows.

    Raises:
        TrainingError: alpha is not above 0, or there are not enough rows for everyone.
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
    """Sort rows by class, cut them in pieces of one size, and deal each agent some pieces.

    Raises:
        TrainingError: there are fewer rows than pieces, or a hand has less than `min_rows`.
    """
    check_enough(len(labels), agents, min_rows)
    pieces = agents * shards_per_agent
    if shards_per_agent < 1 or pieces > len(labels):
        raise TrainingError(
            f"shards_per_agent is {shards_per_agent}: {pieces} shards of {len(labels)} rows"
        )
    order = rng.permutation(len(labels))
    in_order = order[np.argsort(labels[order], kind="stable")]
    dealt = rng.permutation(pieces).reshape(agents, shards_per_agent)
    cuts = np.array_split(in_order, pieces)
    partitions = [np.concatenate([cuts[piece] for piece in pieces_of]) for pieces_of in dealt]
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
    """Give each agent rows of so many classes; who share a class share its rows evenly.

    Raises:
        TrainingError: there are not so many classes, a class would be nobody's, or an agent cannot
            get `min_rows` rows of its classes.
    """
    check_enough(len(labels), agents, min_rows)
    classes = _classes(labels)
    _check_each(classes_per_agent, len(classes))
    if agents * classes_per_agent < len(classes):
        raise TrainingError(
            f"{agents} agents of {classes_per_agent} classes leave some of {len(classes)} to nobody"
        )
    allowed = draw_classes(classes, classes_per_agent, agents, rng)
    return fill_up_by_class(divide_classes(labels, allowed, rng), min_rows, rng, labels, allowed)


def mixed_label_quantity(  # noqa: PLR0913, PLR0917 - as all samplers, with what some agents share
    labels: Array,
    agents: int,
    rng: np.random.Generator,
    min_rows: int = 1,
    classes_per_agent: int = 2,
    anchor_classes: Sequence[int] | None = None,
    consistent: int | None = None,
    keep_anchor: int = 1,
) -> list[Rows]:
    """Deal by class, where `consistent` agents (half) all have the same, the anchor classes.

    They are the first ones; Plato draws by chance which. Every class is somebody's, here.
    The others draw theirs from all other classes and from `keep_anchor` of the anchor classes.

    Raises:
        TrainingError: classes or agents are not there, a class would be nobody's, or an agent
            cannot get `min_rows` rows of its classes.
    """
    check_enough(len(labels), agents, min_rows)
    classes = _classes(labels)
    _check_each(classes_per_agent, len(classes))
    anchors = (
        sorted(rng.choice(classes, classes_per_agent, replace=False).tolist())
        if anchor_classes is None
        else list(anchor_classes)
    )
    same = max(1, agents // 2) if consistent is None else consistent
    if len(set(anchors)) != classes_per_agent or not set(anchors) <= set(classes):
        raise TrainingError(
            f"anchor_classes is {_said(anchors)}; {classes_per_agent} of {_said(classes)}"
        )
    if not 1 <= same <= agents or not 0 <= keep_anchor <= classes_per_agent:
        raise TrainingError(
            f"consistent is {same} of {agents} agents, keep_anchor {keep_anchor} of "
            f"{classes_per_agent} classes"
        )
    kept = rng.choice(anchors, keep_anchor, replace=False).tolist()
    pool = [c for c in classes if c not in anchors] + kept
    others = agents - same
    if (others and len(pool) < classes_per_agent) or others * classes_per_agent < len(pool) - len(
        kept
    ):
        raise TrainingError(
            f"{others} other agents of {classes_per_agent} classes cannot have all the other "
            f"{len(pool) - len(kept)}, each at least once"
        )
    theirs = _covering(pool, kept, classes_per_agent, others, rng)
    allowed = [frozenset(anchors)] * same + theirs
    return fill_up_by_class(divide_classes(labels, allowed, rng), min_rows, rng, labels, allowed)


def _covering(
    pool: list[int], spare: list[int], each: int, agents: int, rng: np.random.Generator
) -> list[frozenset[int]]:
    """Draw classes so that all but the spare ones are somebody's."""
    allowed = draw_classes(pool, each, agents, rng)
    needed = set(pool) - set(spare)
    for missing in sorted(needed - set().union(*allowed)):
        # Somebody has a spare class instead, or one that another has as well.
        for agent, held in enumerate(allowed):
            rest = [c for c in sorted(held) if c in spare or sum(c in h for h in allowed) > 1]
            if rest:
                allowed[agent] = held - {rest[0]} | {missing}
                break
    return allowed


def orthogonal(  # noqa: PLR0913, PLR0917 - as all samplers, with whose classes are whose
    labels: Array,
    agents: int,
    rng: np.random.Generator,
    min_rows: int = 1,
    institutions: int | Sequence[Sequence[int]] = 2,
    alpha: float | None = None,
    partition_size: int | None = None,
) -> list[Rows]:
    """Give each institution classes of its own; of n institutions each has every n-th agent.

    Within an institution rows are dealt by chance, or by Dirichlet(alpha) of its classes; with a
    `partition_size` so many to each of its agents.

    Raises:
        TrainingError: the institutions' classes are not all classes, each once, an institution has
            no agent, or too few rows for its agents.
    """
    check_enough(len(labels), agents, min_rows)
    classes = _classes(labels)
    owned = _owned(institutions, classes)
    if len(owned) > agents:
        raise TrainingError(f"{len(owned)} institutions and {agents} agents: one has none")
    partitions: list[Rows] = [np.empty(0, np.int64)] * agents
    for number, theirs in enumerate(owned):
        members = range(number, agents, len(owned))
        rows = rng.permutation(np.flatnonzero(np.isin(labels, theirs)))
        if len(rows) < min_rows * len(members):
            raise TrainingError(
                f"institution {number + 1} has {len(rows)} rows of classes {_said(theirs)} for "
                f"{len(members)} agents of at least {min_rows} each"
            )
        if partition_size is not None:
            check_size(partition_size, len(rows), len(members), min_rows)
            if alpha is None:
                rows = rows[: partition_size * len(members)]
        if alpha is None:
            dealt = list(np.array_split(rows, len(members)))
        else:
            inside = dirichlet(labels[rows], len(members), rng, min_rows, alpha, partition_size)
            dealt = [rows[partition] for partition in inside]
        for agent, partition in zip(members, dealt, strict=True):
            partitions[agent] = partition
    return partitions


def _owned(institutions: int | Sequence[Sequence[int]], classes: list[int]) -> list[list[int]]:
    if isinstance(institutions, int):
        if not 1 <= institutions <= len(classes):
            raise TrainingError(f"institutions is {institutions}; 1 to {len(classes)}, the classes")
        return [part.tolist() for part in np.array_split(classes, institutions)]
    flat = [number for theirs in institutions for number in theirs]
    if sorted(flat) != classes or not all(institutions):
        raise TrainingError(
            f"institutions have the classes {_said(flat)}; all of {_said(classes)}, each once"
        )
    return [list(theirs) for theirs in institutions]


def _classes(labels: Array) -> list[int]:
    return [int(label) for label in np.unique(labels)]


def _check_each(each: int, classes: int) -> None:
    if not 1 <= each <= classes:
        raise TrainingError(f"classes_per_agent is {each}; 1 to {classes}, the classes there are")


def _said(classes: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(classes)))
