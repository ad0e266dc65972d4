"""Step `random-k`: numbers chosen at random, by a seed in the blob's header. Pure.

No index is sent: both sides draw them from raw 64-bit numbers of PCG64, which are the same in all
versions of numpy. The numbers are not scaled up, since what is left out is sent later.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from fedbus.compression.index_codes import Indices
from fedbus.compression.number_coding import Floats
from fedbus.compression.number_selection import count_of
from fedbus.model.encodings import SizeBounds

_BLOCK: Final = 64 * 1024
"""Numbers of which a fixed share is drawn at once, so that memory for drawing is bounded."""


@dataclass(frozen=True, slots=True)
class RandomK:
    """A fraction of all numbers."""

    fraction: float

    def count(self, numbers: int) -> int:
        """Return the fraction, rounded up."""
        return count_of(self.fraction, numbers)

    def bounds(self, numbers: int) -> SizeBounds:  # noqa: ARG002 - whatever there is
        """Return no bytes: the seed is in the header."""
        return SizeBounds(0, 0)

    def choose(self, numbers: Floats, seed: int) -> Indices:
        """Return indices that follow from the seed."""
        return self._drawn(numbers.size, seed)

    def write(self, indices: Indices, numbers: int) -> bytes:  # noqa: ARG002 - see `bounds`
        """Return no bytes."""
        return b""

    def read(self, data: memoryview, numbers: int, seed: int) -> tuple[Indices, int]:  # noqa: ARG002 - see `bounds`
        """Draw the indices again."""
        return self._drawn(numbers, seed), 0

    def _drawn(self, numbers: int, seed: int) -> Indices:
        raw, total, drawn = np.random.PCG64(seed), self.count(numbers), []
        for start in range(0, numbers, _BLOCK):
            stop = min(start + _BLOCK, numbers)
            count = total * stop // numbers - total * start // numbers
            order = np.argsort(raw.random_raw(stop - start), kind="stable")
            drawn.append(np.sort(order[:count]) + start)
        return np.concatenate(drawn) if drawn else np.empty(0, np.int64)
