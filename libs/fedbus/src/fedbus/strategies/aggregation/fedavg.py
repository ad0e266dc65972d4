"""Aggregators: they combine updates block by block, so that memory does not depend on the model.

The collector calls an aggregator for each block of each update.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class FedAvg:
    """Federated averaging: the weighted mean of the updates.

    B. McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data,
    2017, arXiv 1602.05629, algorithm 1. The weight of an update is its number of examples, or 1
    with `weighted: false`; the collector divides the total by the sum of the weights.
    """

    def fold(self, total: NDArray[np.float64], block: NDArray[Any], weight: float) -> None:
        """Add an update's block to the total; both have shape (numbers,)."""
        total += block * np.float64(weight)
