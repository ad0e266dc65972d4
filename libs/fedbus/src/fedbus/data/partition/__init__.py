"""Deal rows to agents as unevenly as life does. Pure: all chance comes from a generator.

A sampler takes the class of every row and says for each agent which rows it gets; together they are
all rows, each once (but for `all_inclusive`, and for rows beyond a `partition_size`). The ways of
dealing are those of Plato, of NIID-Bench (arXiv 2102.02079; `dirichlet`, `quantity`) and of McMahan
et al. (arXiv 1602.05629; `shards`). In Plato most agents draw their rows each alone, so that some
are many agents' and some nobody's; where ours differ otherwise, a docstring says so.
"""

import inspect
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from fedbus.data.partition.by_label import (
    dirichlet,
    label_quantity,
    mixed_label_quantity,
    orthogonal,
    shards,
)
from fedbus.data.partition.by_size import (
    all_inclusive,
    distribution,
    iid,
    mixed,
    quantity,
    sample_quantity,
)
from fedbus.data.partition.row_assignment import Rows, hold_out
from fedbus.errors import TrainingError
from fedbus.model.layout import Array
from fedbus.text import in_given_order, listed

SAMPLERS: Final[Mapping[str, Any]] = {
    "iid": iid,
    "dirichlet": dirichlet,
    "shards": shards,
    "label-quantity": label_quantity,
    "quantity-skew": quantity,
    "distribution": distribution,
    "mixed": mixed,
    "mixed-label-quantity": mixed_label_quantity,
    "orthogonal": orthogonal,
    "sample-quantity": sample_quantity,
    "all-inclusive": all_inclusive,
}
"""By the name that people use."""

WITHOUT_CLASSES: Final = frozenset({"iid", "quantity-skew", "all-inclusive"})
"""These need not know what y is."""

_COMMON = 4


def options_of(by: str) -> tuple[str, ...]:
    """Name the options of a sampler, beside the rows that each agent gets at least.

    Raises:
        TrainingError: there is no such sampler.
    """
    if by not in SAMPLERS:
        raise TrainingError(f"no sampler {by!r}; there is {listed(SAMPLERS)}")
    return tuple(inspect.signature(SAMPLERS[by]).parameters)[_COMMON:]


def partition_rows(  # noqa: PLR0913, PLR0917 - a sampler's arguments, and which one
    by: str,
    labels: Array,
    agents: int,
    rng: np.random.Generator,
    min_rows: int,
    options: Mapping[str, Any],
) -> list[Rows]:
    """Deal rows with the sampler of a name.

    Args:
        by: The sampler.
        labels: The class of every row, (rows,); ignored by `WITHOUT_CLASSES`.
        agents: How many there are.
        rng: All the chance there is.
        least: The rows that everyone gets: the minimum partition size.
        options: The sampler's own, by name.

    Returns:
        For each agent its rows, shuffled.

    Raises:
        TrainingError: the sampler is not known or takes no such option, or an agent cannot get as
            many rows.
    """
    known = options_of(by)
    if unknown := sorted(options.keys() - set(known)):
        takes = in_given_order(known) or "none"
        raise TrainingError(f"{by} takes no {listed(unknown)}; its options: {takes}")
    if labels.ndim != 1 or (labels.dtype.kind not in "iu" and by not in WITHOUT_CLASSES):
        each = f"{labels.shape[1:]} for each row" if labels.ndim > 1 else "one value for each row"
        raise TrainingError(
            f"{by} deals by class, which is a whole number for each row, and y is {labels.dtype}, "
            f"{each}; samplers that need no classes are {listed(WITHOUT_CLASSES)}"
        )
    partitions: list[Rows] = SAMPLERS[by](labels, agents, rng, min_rows, **options)
    return partitions


__all__ = [
    "SAMPLERS",
    "WITHOUT_CLASSES",
    "Rows",
    "all_inclusive",
    "deal",
    "dirichlet",
    "distribution",
    "hold_out",
    "iid",
    "label_quantity",
    "mixed",
    "mixed_label_quantity",
    "options_of",
    "orthogonal",
    "quantity",
    "sample_quantity",
    "shards",
]
