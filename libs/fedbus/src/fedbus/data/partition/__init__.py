"""Samplers that partition a data set among agents. Pure: the random generator is an argument.

A sampler takes the class of every row and returns each agent's rows. Each row has exactly one
agent, except with `all_inclusive` (all agents have all rows) and a `partition_size` (further rows
have no agent). The samplers are those of Plato (https://github.com/TL-System/plato), of NIID-Bench
(Li et al., 2021, arXiv:2102.02079; `dirichlet`, `quantity`) and of FedAvg (McMahan et al., 2017,
arXiv:1602.05629; `shards`). In Plato most agents draw their rows independently, so partitions may
overlap; other differences are stated with each sampler.
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
from fedbus.data.partition.row_assignment import Rows
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
"""By name, as on the command line."""

WITHOUT_CLASSES: Final = frozenset({"iid", "quantity-skew", "all-inclusive"})
"""Samplers that do not read y."""

_COMMON_PARAMETERS = 4


def options_of(by: str) -> tuple[str, ...]:
    """List a sampler's own options; raise TrainingError if there is no such sampler."""
    if by not in SAMPLERS:
        raise TrainingError(f"no sampler {by!r}; expected {listed(SAMPLERS)}")
    return tuple(inspect.signature(SAMPLERS[by]).parameters)[_COMMON_PARAMETERS:]


def partition_rows(  # noqa: PLR0913, PLR0917 - a sampler's name and its arguments
    by: str,
    labels: Array,
    agents: int,
    rng: np.random.Generator,
    min_rows: int,
    options: Mapping[str, Any],
) -> list[Rows]:
    """Partition rows with a sampler.

    Args:
        labels: The class of every row, shape (rows,); ignored by `WITHOUT_CLASSES`.
        min_rows: Minimum number of rows of each agent.

    Returns:
        Each agent's row numbers, shuffled.

    Raises:
        TrainingError: the sampler is unknown or does not take an option, or an agent cannot get
            `min_rows` rows.
    """
    known = options_of(by)
    if unknown := sorted(options.keys() - set(known)):
        takes = in_given_order(known) or "none"
        raise TrainingError(f"{by} takes no {listed(unknown)}; its options: {takes}")
    if labels.ndim != 1 or (labels.dtype.kind not in "iu" and by not in WITHOUT_CLASSES):
        each = f"{labels.shape[1:]} for each row" if labels.ndim > 1 else "one value for each row"
        raise TrainingError(
            f"{by} partitions by class: expected one whole number of y for each row, got "
            f"{labels.dtype}, {each}; samplers that need no classes are {listed(WITHOUT_CLASSES)}"
        )
    partitions: list[Rows] = SAMPLERS[by](labels, agents, rng, min_rows, **options)
    return partitions
