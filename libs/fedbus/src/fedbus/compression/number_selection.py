"""Selections: which numbers of an update are sent. Pure."""

from math import ceil
from typing import Protocol

from fedbus.compression.body_bytes import BodyBytes
from fedbus.compression.index_codes import Indices, Marks
from fedbus.compression.number_coding import Floats
from fedbus.model.encodings import SizeBounds


class NumberSelection(Protocol):
    """A way to choose numbers; how many follows from how many there are."""

    @property
    def fraction(self) -> float:
        """The share of all numbers that is sent."""
        ...

    def count(self, numbers: int, /) -> int:
        """Return how many of `numbers` numbers are sent."""
        ...

    def bounds(self, numbers: int, /) -> SizeBounds:
        """Return the least and the most bytes that say which ones are sent."""
        ...

    def choose(self, numbers: Floats, seed: int, /) -> Indices:
        """Return the ascending indices of those that are sent."""
        ...

    def write(self, indices: Indices, numbers: int, /) -> bytes:
        """Return the bytes that say which ones are sent."""
        ...

    def read(self, data: BodyBytes, numbers: int, seed: int, /) -> Marks:
        """Read which ones are sent: `count` of them.

        Raises:
            LayoutError: They are not as many, or beyond the numbers.
        """
        ...


def count_of(fraction: float, numbers: int) -> int:
    """Return a fraction of the numbers, rounded up: at least one, if there is any."""
    return min(numbers, ceil(fraction * numbers))
