"""Step `top-k`: the numbers with the greatest absolute values. Pure.

What it leaves out is kept by the agent and added to its next update (Stich et al. 2018, Sparsified
SGD with Memory, arXiv 1809.07599).
"""

from dataclasses import dataclass

import numpy as np

from fedbus.compression.index_codes import Indices, index_bounds, read_indices, write_indices
from fedbus.compression.number_coding import Floats
from fedbus.compression.number_selection import count_of
from fedbus.model.encodings import SizeBounds


@dataclass(frozen=True, slots=True)
class TopK:
    """A fraction of all numbers; of equal ones, those with the lowest index are sent."""

    fraction: float

    def count(self, numbers: int) -> int:
        """Return the fraction, rounded up."""
        return count_of(self.fraction, numbers)

    def bounds(self, numbers: int) -> SizeBounds:
        """Return the sizes of the indices."""
        return index_bounds(self.count(numbers), numbers)

    def choose(self, numbers: Floats, seed: int) -> Indices:  # noqa: ARG002 - nothing is left to chance
        """Return the indices of the greatest numbers."""
        count = self.count(numbers.size)
        if count == numbers.size:
            return np.arange(count)
        sizes = np.abs(numbers)
        threshold = np.partition(sizes, -count)[-count]
        greater = np.flatnonzero(sizes > threshold)
        equal = np.flatnonzero(sizes == threshold)[: count - greater.size]
        return np.sort(np.concatenate((greater, equal)))

    def write(self, indices: Indices, numbers: int) -> bytes:
        """Return the indices as Rice codes or as a bitmap."""
        return write_indices(indices, numbers)

    def read(self, data: memoryview, numbers: int, seed: int) -> tuple[Indices, int]:  # noqa: ARG002 - see `choose`
        """Return the indices, and how many bytes they are."""
        return read_indices(data, self.count(numbers), numbers)
