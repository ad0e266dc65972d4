"""Number codings: how a compressed blob holds the numbers that are sent. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedbus.model.layout import Array

Floats = NDArray[np.floating[Any]]
"""Shape (numbers,): float32, or float64 if a trained tensor is."""


@dataclass(frozen=True, slots=True)
class Part:
    """The numbers of one trained tensor that are sent; there may be none."""

    dtype: str
    count: int


class NumberCoding(Protocol):
    """A way to write numbers as bytes."""

    def size(self, parts: Sequence[Part], /) -> int:
        """Return the bytes that the numbers of these parts take."""
        ...

    def write(self, numbers: Floats, parts: Sequence[Part], rng: np.random.Generator, /) -> bytes:
        """Return finite numbers, those of one part after another, as bytes."""
        ...

    def read(self, data: memoryview, parts: Sequence[Part], dtype: str, /) -> Floats:
        """Return numbers of a dtype from `size(parts)` bytes.

        Raises:
            LayoutError: The bytes are not numbers of this coding.
        """
        ...


class OwnDtype:
    """The numbers of each tensor in its own dtype: what a chain without such a step does."""

    def size(self, parts: Sequence[Part]) -> int:
        """Return the bytes of all parts."""
        return sum(part.count * np.dtype(part.dtype).itemsize for part in parts)

    def write(self, numbers: Floats, parts: Sequence[Part], rng: np.random.Generator) -> bytes:  # noqa: ARG002 - nothing is rounded at random
        """Return the numbers; those beyond their dtype are clipped to its largest finite one."""
        made, start = [], 0
        for part in parts:
            numbers_of_part = numbers[start : start + part.count]
            made.append(clipped(numbers_of_part, part.dtype).tobytes())
            start += part.count
        return b"".join(made)

    def read(self, data: memoryview, parts: Sequence[Part], dtype: str) -> Floats:
        """Return the numbers, which may be NaN or infinite."""
        made = np.empty(sum(part.count for part in parts), dtype)
        start = offset = 0
        for part in parts:
            little = np.dtype(part.dtype).newbyteorder("<")
            made[start : start + part.count] = np.frombuffer(data, little, part.count, offset)
            start += part.count
            offset += part.count * little.itemsize
        return made


def clipped(numbers: Floats, dtype: str) -> Array:
    """Return numbers in a dtype, little-endian, clipped to its largest finite number."""
    greatest = float(np.finfo(dtype).max)
    little = np.dtype(dtype).newbyteorder("<")
    if np.dtype(dtype).itemsize >= numbers.dtype.itemsize:
        return numbers.astype(little, copy=False)
    return np.clip(numbers, -greatest, greatest).astype(little)
