"""The coordinate-wise median of the updates. Pure.

D. Yin, Y. Chen, K. Ramchandran, P. Bartlett, Byzantine-Robust Distributed Learning: Towards Optimal
Statistical Rates, 2018, arXiv 1803.01498, definition 1 and algorithm 1 (option I).
"""

import numpy as np

from fedbus.model.layout import Array


class Median:
    """The median of each number; of an even number of updates, the mean of the two middle ones.

    Each update counts the same, whatever its number of examples, as in the paper.
    """

    def combine(self, blocks: Array, _weights: Array, /) -> Array:
        """Return the median of each column."""
        median: Array = np.median(blocks, axis=0)
        return median
