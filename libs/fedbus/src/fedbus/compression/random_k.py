"""Step `random-k`: numbers chosen at random, by a seed in the blob's header. Pure.

No index is sent: both sides draw them from raw 64-bit numbers of PCG64, which are the same in all
versions of numpy. The numbers are not scaled up, since what is left out is sent later.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from fedbus.compression.body_bytes import BodyBytes
from fedbus.compression.index_codes import Indices, Marks
from fedbus.compression.number_coding import Floats
from fedbus.compression.number_selection import count_of
from fedbus.model.encodings import SizeBounds

_BLOCK: Final = 64 * 1024
"""Numbers of which a fixed share is drawn at once, so that memory for drawing is bounded. Bits of
a block are whole bytes."""


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
        drawn = [indices + start for start, _, indices in self._drawn(numbers.size, seed)]
        return np.concatenate(drawn) if drawn else np.empty(0, np.int64)

    def write(self, indices: Indices, numbers: int) -> bytes:  # noqa: ARG002 - see `bounds`
        """Return no bytes."""
        return b""

    def read(self, data: BodyBytes, numbers: int, seed: int) -> Marks:  # noqa: ARG002 - see `bounds`
        """Draw the indices again."""
        marks = np.zeros(-(-numbers // 8), np.uint8)
        for start, stop, indices in self._drawn(numbers, seed):
            flags = np.zeros(stop - start, np.uint8)
            flags[indices] = 1
            marks[start // 8 : -(-stop // 8)] = np.packbits(flags, bitorder="little")
        return marks

    def _drawn(self, numbers: int, seed: int) -> Iterator[tuple[int, int, Indices]]:
        """Yield where each block begins and ends, and the ascending indices in it."""
        raw, total = np.random.PCG64(seed), self.count(numbers)
        for start in range(0, numbers, _BLOCK):
            stop = min(start + _BLOCK, numbers)
            count = total * stop // numbers - total * start // numbers
            order = np.argsort(raw.random_raw(stop - start), kind="stable")
            yield start, stop, np.sort(order[:count])
