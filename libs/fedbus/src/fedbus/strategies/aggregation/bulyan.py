"""Bulyan: a selection of updates by Krum, then the mean of the middle values. Pure.

E. M. El Mhamdi, R. Guerraoui, S. Rouault, The Hidden Vulnerability of Distributed Learning in
Byzantium, 2018, arXiv 1802.07927.

Of n >= 4f + 3 updates, f of them malicious, Krum selects one after the other until there are
n - 2f. Then each number is the mean of the n - 4f selected values that lie closest to their median.

The paper leaves three cases open, which are decided as in Flower 1.13 or by a fixed order: Krum's
last choices have fewer than 2f + 3 updates left, and then an update's score counts one neighbour at
least; the median of an even number is the mean of the two middle values; of two values at the same
distance from the median, the smaller one counts. Equal scores are decided by the agents' names.
"""

from collections.abc import Sequence

import numpy as np

from fedbus.model.layout import Array
from fedbus.plugins import Coefficients, UpdateFacts
from fedbus.strategies.aggregation.gram_matrix import squared_distances
from fedbus.strategies.aggregation.krum import krum_scores
from fedbus.strategies.number_parameters import whole


class Bulyan:
    """The mean of the values closest to the median, among updates that Krum selects.

    Each update counts the same, whatever its number of examples, as in the paper.

    Args:
        num_malicious_clients: f, the number of malicious agents that a round may have.
    """

    gram = "model"

    def __init__(self, *, num_malicious_clients: int = 0) -> None:
        self._malicious = whole("num_malicious_clients", num_malicious_clients)
        self.least_updates = 4 * self._malicious + 3

    def weigh(self, facts: Sequence[UpdateFacts], gram: Array | None, /) -> Coefficients:
        """Return equal coefficients for the selected updates, and 0 for the others."""
        if gram is None or len(facts) < self.least_updates:
            raise ValueError(
                f"expected the inner products of at least {self.least_updates} updates (4 times "
                f"num_malicious_clients, plus 3), got {len(facts)} updates"
            )
        distances = squared_distances(gram)
        left = sorted(range(len(facts)), key=lambda i: facts[i].agent)
        selected = set[int]()
        while len(selected) < len(facts) - 2 * self._malicious:
            scores = krum_scores(distances[np.ix_(left, left)], self._malicious)
            selected.add(left.pop(int(np.argmin(scores))))
        share = 1 / len(selected)
        return Coefficients([share if i in selected else 0.0 for i in range(len(facts))])

    def combine(self, blocks: Array, _weights: Array, /) -> Array:
        """Return the mean of the values closest to the median of each column."""
        closest = len(blocks) - 2 * self._malicious
        ordered = np.sort(blocks, axis=0)
        gaps = np.abs(ordered - np.median(ordered, axis=0))
        order = np.argsort(gaps, axis=0, kind="stable")[:closest]
        mean: Array = np.take_along_axis(ordered, order, axis=0).mean(axis=0)
        return mean
