"""Step `top-k`: the numbers with the greatest absolute values. Pure.

What it leaves out is kept by the agent and added to its next update (Stich et al. 2018, Sparsified
SGD with Memory, arXiv 1809.07599).
"""

from dataclasses import dataclass

import numpy as np

from fedbus.compression.body_bytes import BodyBytes
from fedbus.compression.index_codes import (
    Indices,
    Marks,
    index_bounds,
    read_marks,
    write_indices,
)
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
        sizes.partition(numbers.size - count)
        threshold = sizes[numbers.size - count]
        greater = int(np.count_nonzero(sizes[numbers.size - count :] > threshold))
        np.abs(numbers, out=sizes)
        chosen = sizes >= threshold
        spare = np.flatnonzero(sizes == threshold)[count - greater :]
        chosen[spare] = False
        return np.flatnonzero(chosen)

    def write(self, indices: Indices, numbers: int) -> bytes:
        """Return the indices as Rice codes or as a bitmap."""
        return write_indices(indices, numbers)

    def read(self, data: BodyBytes, numbers: int, seed: int) -> Marks:  # noqa: ARG002 - see `choose`
        """Read which ones are sent."""
        return read_marks(data, self.count(numbers), numbers)
