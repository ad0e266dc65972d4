"""RFA: the geometric median of the updates, by the smoothed Weiszfeld algorithm. Pure.

K. Pillutla, S. Kakade, Z. Harchaoui, Robust Aggregation for Federated Learning, 2022 (IEEE
Transactions on Signal Processing 70), arXiv 1912.13445, algorithm 2.

The geometric median is the point z with the least sum of a_i * ||z - u_i||. All iterates are
combinations sum w_i u_i with weights that add up to 1, so the distances follow from the inner
products G of the updates: ||z - u_i||^2 = w'Gw - 2 (Gw)_i + G_ii.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from fedbus.model.layout import Array
from fedbus.plugins import Coefficients, UpdateFacts
from fedbus.strategies.aggregation.example_shares import example_shares
from fedbus.strategies.aggregation.gram_matrix import Floats
from fedbus.strategies.number_parameters import flag, positive, whole

MAX_ITERATIONS: Final = 1000
"""The collector cannot stop a shipped rule, so this bounds how long a round may take it."""


class GeometricMedian:
    """The point with the least sum of distances to the updates: no single one can move it far.

    Args:
        weighted: Whether an update counts by its number of examples (a_i), as in the paper. An
            agent may claim more examples than it has; `false` counts all updates the same.
        smoothing: Distances below it count as it (nu in the paper).
        iterations: Of the algorithm, from the mean on, at most 1,000. The paper makes 3, since
            each one costs communication there; here it costs the square of the number of updates.
    """

    gram = "model"

    def __init__(
        self, *, weighted: bool = True, smoothing: float = 1e-5, iterations: int = 100
    ) -> None:
        self._weighted = flag("weighted", weighted)
        self._smoothing = positive("smoothing", smoothing)
        self._iterations = whole("iterations", iterations, least=1, most=MAX_ITERATIONS)

    def weigh(self, facts: Sequence[UpdateFacts], gram: Array | None, /) -> Coefficients:
        """Return the weights of the updates at the geometric median; they add up to 1."""
        assert gram is not None  # noqa: S101 - `gram` asks for it
        shares = weights = example_shares(facts, weighted=self._weighted)
        products = gram[1:, 1:]
        for _ in range(self._iterations):
            inverse = shares / np.maximum(_distances(products, weights), self._smoothing)
            weights = inverse / inverse.sum()
        return Coefficients([float(weight) for weight in weights])


def _distances(products: Array, weights: Floats) -> Floats:
    """Return the distance of each update from sum weights[i] * update i."""
    moved = products @ weights
    distances: Floats = np.sqrt(np.maximum(weights @ moved - 2 * moved + np.diagonal(products), 0))
    return distances
