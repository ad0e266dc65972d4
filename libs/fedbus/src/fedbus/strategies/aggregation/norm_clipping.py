"""The mean of updates whose norms are limited. Pure.

Z. Sun, P. Kairouz, A. T. Suresh, H. B. McMahan, Can You Really Backdoor Federated Learning?, 2019,
arXiv 1911.07963, "norm thresholding of updates": the mean of update / max(1, ||update|| / M).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from fedbus.model.layout import Array
from fedbus.plugins import Coefficients, UpdateFacts
from fedbus.strategies.aggregation.example_shares import example_shares
from fedbus.strategies.aggregation.gram_matrix import norms
from fedbus.strategies.number_parameters import flag, positive

MAX_NORM: Final = 1e12
"""Greater limits limit nothing."""


class NormClipping:
    """The mean of the updates, each scaled down to a norm of at most `max_norm`.

    Args:
        max_norm: M in the paper; by default the median of the norms of the round's updates, which
            limits each update as long as fewer than half of the agents are malicious.
        weighted: Whether an update counts by its number of examples, as in the paper.
    """

    gram = "model"

    def __init__(self, *, max_norm: float | None = None, weighted: bool = True) -> None:
        self._max_norm = None if max_norm is None else positive("max_norm", max_norm, most=MAX_NORM)
        self._weighted = flag("weighted", weighted)

    def weigh(self, facts: Sequence[UpdateFacts], gram: Array | None, /) -> Coefficients:
        """Return the share of each update times its scale; an update of norm 0 is not scaled."""
        assert gram is not None  # noqa: S101 - `gram` asks for it
        lengths = norms(gram)
        limit = float(np.median(lengths)) if self._max_norm is None else self._max_norm
        scales = np.ones_like(lengths)
        np.divide(limit, lengths, out=scales, where=lengths > limit)
        shares = example_shares(facts, weighted=self._weighted)
        return Coefficients([float(share) for share in shares * scales])
