"""Number codings: how a compressed blob holds the numbers that are sent. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedbus.compression.body_bytes import BodyBytes
from fedbus.errors import LayoutError
from fedbus.model.layout import Array

Floats = NDArray[np.floating[Any]]
"""Shape (numbers,): float32, or float64 if a trained tensor is."""


@dataclass(frozen=True, slots=True)
class Part:
    """The numbers of one trained tensor that are sent; there may be none."""

    dtype: str
    count: int


class NumberReader(Protocol):
    """Numbers of a coding, read in blocks from the first to the last."""

    def read(self, part: int, count: int, /) -> Floats:
        """Return the next numbers, which belong to one part.

        Raises:
            LayoutError: The bytes are not numbers of this coding.
        """
        ...

    def end(self) -> None:
        """Raise LayoutError if what is left of the last byte is not empty."""


@dataclass(frozen=True, slots=True)
class PlainReader:
    """Numbers without anything before or after them: those of each part in its dtype.

    They may be NaN or infinite, unless `finite` has the name of what must not be.
    """

    data: BodyBytes
    dtypes: tuple[str, ...]
    made: str
    finite: str = ""

    def read(self, part: int, count: int) -> Floats:
        """Return the next numbers, in the dtype `made`."""
        little = np.dtype(self.dtypes[part]).newbyteorder("<")
        numbers = np.frombuffer(self.data.take(count * little.itemsize), little)
        if self.finite and not np.isfinite(numbers).all():
            raise LayoutError(f"a {self.finite} number that is not finite")
        return numbers.astype(self.made)

    def end(self) -> None:
        """Check nothing: a number is whole bytes."""


class NumberCoding(Protocol):
    """A way to write numbers as bytes."""

    def size(self, parts: Sequence[Part], /) -> int:
        """Return the bytes that the numbers of these parts take."""
        ...

    def write(
        self, numbers: Floats, parts: Sequence[Part], rng: np.random.Generator, /
    ) -> bytes | bytearray:
        """Return finite numbers, those of one part after another, as bytes."""
        ...

    def reader(self, data: BodyBytes, parts: Sequence[Part], dtype: str, /) -> NumberReader:
        """Begin to read the numbers of these parts: the next `size(parts)` bytes.

        Raises:
            LayoutError: The bytes are not numbers of this coding.
        """
        ...


class OwnDtype:
    """The numbers of each tensor in its own dtype: what a chain without such a step does."""

    def size(self, parts: Sequence[Part]) -> int:
        """Return the bytes of all parts."""
        return sum(part.count * np.dtype(part.dtype).itemsize for part in parts)

    def write(self, numbers: Floats, parts: Sequence[Part], rng: np.random.Generator) -> bytearray:  # noqa: ARG002 - nothing is rounded at random
        """Return the numbers; those beyond their dtype are clipped to its largest finite one."""
        made = bytearray(self.size(parts))
        start = offset = 0
        for part in parts:
            little = np.dtype(part.dtype).newbyteorder("<")
            written = np.frombuffer(made, little, part.count, offset)
            written[:] = clipped(numbers[start : start + part.count], part.dtype)
            start += part.count
            offset += written.nbytes
        return made

    def reader(self, data: BodyBytes, parts: Sequence[Part], dtype: str) -> NumberReader:
        """Begin to read numbers, which may be NaN or infinite."""
        return PlainReader(data, tuple(part.dtype for part in parts), dtype)


def clipped(numbers: Floats, dtype: str) -> Array:
    """Return numbers in a dtype, little-endian, clipped to its largest finite number."""
    greatest = float(np.finfo(dtype).max)
    little = np.dtype(dtype).newbyteorder("<")
    if np.dtype(dtype).itemsize >= numbers.dtype.itemsize:
        return numbers.astype(little, copy=False)
    return np.clip(numbers, -greatest, greatest).astype(little)
