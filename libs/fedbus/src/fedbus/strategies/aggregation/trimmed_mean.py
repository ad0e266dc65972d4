"""The coordinate-wise trimmed mean of the updates. Pure.

D. Yin, Y. Chen, K. Ramchandran, P. Bartlett, Byzantine-Robust Distributed Learning: Towards Optimal
Statistical Rates, 2018, arXiv 1803.01498, definition 2 and algorithm 1 (option II).
"""

import numpy as np

from fedbus.model.layout import Array
from fedbus.strategies.number_parameters import not_negative


class TrimmedMean:
    """The mean of each number, without its smallest and its largest values.

    Each update counts the same, whatever its number of examples, as in the paper.

    Args:
        beta: The share of the updates that is left out at each end, rounded down to whole updates:
            with fewer than 1 / beta updates none is, and the result is their mean. It must be at
            least the share of malicious agents.
    """

    def __init__(self, *, beta: float = 0.2) -> None:
        self._beta = not_negative("beta", beta)
        if self._beta >= 0.5:  # noqa: PLR2004 - a half at each end leaves nothing
            raise ValueError(f"beta: expected a number from 0 to below 0.5, got {beta!r}")

    def combine(self, blocks: Array, _weights: Array, /) -> Array:
        """Return the mean of the middle values of each column."""
        agents = len(blocks)
        # 0.29 * 100 is 28.999999999999996, which would leave one attacker of 29 in.
        cut = int(round(self._beta * agents, 9))
        middle: Array = np.sort(blocks, axis=0)[cut : agents - cut].mean(axis=0)
        return middle
