"""An aggregator that averages the middle values of each number."""

import numpy as np

from fedbus import Array


class MiddleShare:
    """The mean of each number's middle values; a share of 0.5 leaves out a quarter on each side."""

    def __init__(self, *, share: float = 0.5) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share: expected a number above 0 and at most 1, got {share}")
        self.share = share

    def combine(self, blocks: Array, _weights: Array) -> Array:
        """Return the mean of the middle rows of each sorted column."""
        ordered = np.sort(blocks, axis=0)
        cut = int(len(blocks) * (1 - self.share) / 2)
        middle: Array = ordered[cut : len(blocks) - cut].mean(axis=0)
        return middle
