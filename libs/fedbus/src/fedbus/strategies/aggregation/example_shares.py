"""Each update's share of a round's examples. Pure."""

from collections.abc import Sequence

import numpy as np

from fedbus.plugins import UpdateFacts
from fedbus.strategies.aggregation.gram_matrix import Floats


def example_shares(facts: Sequence[UpdateFacts], *, weighted: bool = True) -> Floats:
    """Return weights that add up to 1, shape (agents,): by examples, or equal ones.

    Raises:
        ValueError: No update has an example.
    """
    counts = np.array([each.examples if weighted else 1 for each in facts], np.float64)
    if not counts.sum() > 0:
        raise ValueError(f"expected updates with examples, got {len(facts)} without any")
    shares: Floats = counts / counts.sum()
    return shares
