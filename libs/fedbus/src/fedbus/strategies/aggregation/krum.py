"""Krum and multi-Krum: the updates that lie closest to their neighbours. Pure.

P. Blanchard, E. M. El Mhamdi, R. Guerraoui, J. Stainer, Machine Learning with Adversaries:
Byzantine Tolerant Gradient Descent, 2017 (as Byzantine-Tolerant Machine Learning arXiv
1703.02757).

Of n updates, f of them malicious, with 2f + 2 < n, the score of an update is the sum of its squared
distances to the n - f - 2 updates closest to it. The updates with the lowest scores are kept.

Updates count the same whatever their numbers of examples, as in the paper; Flower 1.13 weights the
updates that it keeps by examples, and works for any n. Equal scores are decided by the names of the
agents, in alphabetical order.
"""

from collections.abc import Sequence

import numpy as np

from fedbus.model.layout import Array
from fedbus.plugins import Coefficients, UpdateFacts
from fedbus.strategies.aggregation.gram_matrix import Floats, squared_distances
from fedbus.strategies.number_parameters import whole


def krum_scores(distances: Floats, malicious: int) -> Floats:
    """Return the score of each update from the squared distances; the lowest is the best.

    Args:
        distances: Shape (agents, agents), 0 on the diagonal.
        malicious: f. At least one neighbour counts, even where n - f - 2 is less.
    """
    neighbours = max(1, len(distances) - malicious - 2)
    others = np.sort(distances, axis=1)[:, 1 : neighbours + 1]  # column 0: the update itself
    scores: Floats = others.sum(axis=1)
    return scores


class Krum:
    """The mean of the updates with the lowest scores: of one of them, unless the job says more.

    Args:
        num_malicious_clients: f, the number of malicious agents that a round may have.
        num_clients_to_keep: Number of updates to average; 0 is 1.
    """

    gram = "model"

    def __init__(self, *, num_malicious_clients: int = 0, num_clients_to_keep: int = 0) -> None:
        self._malicious = whole("num_malicious_clients", num_malicious_clients)
        self._keep = whole("num_clients_to_keep", num_clients_to_keep)
        self.least_updates = max(2 * self._malicious + 3, self._keep)

    def weigh(self, facts: Sequence[UpdateFacts], gram: Array | None, /) -> Coefficients:
        """Return 1 / m for the m updates with the lowest scores, and 0 for the others."""
        if gram is None or len(facts) < self.least_updates:
            raise ValueError(
                f"expected the inner products of at least {self.least_updates} updates (twice "
                f"num_malicious_clients, plus 3), got {len(facts)} updates"
            )
        scores = krum_scores(squared_distances(gram), self._malicious)
        ranks = sorted(range(len(facts)), key=lambda i: (scores[i], facts[i].agent))
        kept = set(ranks[: self._kept(len(facts))])
        return Coefficients([1 / len(kept) if i in kept else 0.0 for i in range(len(facts))])

    def _kept(self, _agents: int) -> int:
        return self._keep or 1


class MultiKrum(Krum):
    """Krum that averages several updates: n - f - 2 of them, unless the job gives a number.

    That number is from E. M. El Mhamdi, R. Guerraoui, S. Rouault, Fast and Robust Distributed
    Learning in High Dimension, 2019, arXiv 1905.04374.

    Args:
        num_malicious_clients: f, the number of malicious agents that a round may have.
        num_clients_to_keep: Number of updates to average; 0 is n - f - 2.
    """

    def _kept(self, agents: int) -> int:
        return self._keep or agents - self._malicious - 2
