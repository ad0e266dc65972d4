"""Aggregators: they add up blocks of numbers, so that memory is bounded whatever the model.

The collector walks the blocks; an aggregator sees one block at a time and never a whole model.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class FedAvg:
    """The weighted mean of the updates (McMahan et al. 2017, arXiv 1602.05629, algorithm 1).

    An update weighs by its examples, or by 1 where the job says `weighted: false`; the collector
    divides the total by the sum of the weights.
    """

    def fold(self, total: NDArray[np.float64], block: NDArray[Any], weight: float) -> None:
        """Add one update's block to the total's; both have shape (numbers,)."""
        total += block * np.float64(weight)
