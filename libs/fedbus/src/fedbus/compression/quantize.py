"""Step `quantize`: numbers as multiples of a scale, in 8 or 4 bits. Pure.

A scale is the greatest absolute number of a block, divided by 127 or 7. Numbers are rounded at
random to one of their two neighbours, so that their expectation stays (QSGD, Alistarh et al. 2017,
arXiv 1610.02132). The bytes: the scales in float32, then the codes; two codes of 4 bits share a
byte, the first one in its low half.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedbus.compression.body_bytes import BodyBytes
from fedbus.compression.number_coding import Floats, NumberReader, Part
from fedbus.errors import LayoutError

BYTE_BITS: Final = 8
_GREATEST_SCALE: Final = float(np.finfo("float32").max)
_PIECE: Final = 64 * 1024
"""Numbers that are written at once, so that memory for writing is bounded."""


@dataclass(frozen=True, slots=True)
class Quantize:
    """Numbers of 8 or 4 bits.

    Attributes:
        bits: Bits of a number, 8 or 4.
        block: Numbers that share a scale; 0: those of a tensor do.
    """

    bits: int
    block: int

    @property
    def levels(self) -> int:
        """The greatest multiple of a scale: 127 or 7."""
        return (1 << (self.bits - 1)) - 1

    def size(self, parts: Sequence[Part]) -> int:
        """Return the bytes of scales and codes."""
        return 4 * self._scales(parts) + self._code_bytes(parts)

    def write(self, numbers: Floats, parts: Sequence[Part], rng: np.random.Generator) -> bytes:
        """Return scales and codes; a number beyond float32 is clipped to its largest one."""
        scales = np.zeros(self._scales(parts), "<f4")
        codes = np.empty(numbers.size, np.uint8)
        for index, (start, stop) in enumerate(self._blocks(parts)):
            pieces = [(at, min(at + _PIECE, stop)) for at in range(start, stop, _PIECE)]
            greatest = max((_greatest(numbers[at:end]) for at, end in pieces), default=0.0)
            scales[index] = greatest / self.levels
            for at, end in pieces:
                codes[at:end] = self._codes(numbers[at:end], scales[index], rng)
        return scales.tobytes() + self._packed(codes)

    def reader(self, data: BodyBytes, parts: Sequence[Part], dtype: str) -> NumberReader:
        """Read the scales; raise LayoutError for a scale or a code that is never written."""
        scales = np.frombuffer(data.take(4 * self._scales(parts)), "<f4")
        if not (np.isfinite(scales) & (scales >= 0)).all():
            raise LayoutError("a scale that is not a finite number, 0 or greater")
        return QuantizedReader(self, data, scales, dtype)

    def _codes(
        self, numbers: Floats, scale: np.float32, rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        if not scale:
            return np.full(numbers.size, self.levels, np.uint8)
        multiples = np.clip(numbers, -_GREATEST_SCALE, _GREATEST_SCALE)
        multiples /= multiples.dtype.type(scale)
        multiples += rng.random(numbers.size, np.float32)
        np.floor(multiples, out=multiples)
        np.clip(multiples, -self.levels, self.levels, out=multiples)
        return (multiples + self.levels).astype(np.uint8)

    def _scales(self, parts: Sequence[Part]) -> int:
        if not self.block:
            return len(parts)
        return -(-sum(part.count for part in parts) // self.block)

    def _blocks(self, parts: Sequence[Part]) -> Iterator[tuple[int, int]]:
        """Yield where the numbers of each scale begin and end."""
        total = sum(part.count for part in parts)
        if self.block:
            for start in range(0, total, self.block):
                yield start, min(start + self.block, total)
            return
        start = 0
        for part in parts:
            yield start, start + part.count
            start += part.count

    def _code_bytes(self, parts: Sequence[Part]) -> int:
        return -(-sum(part.count for part in parts) * self.bits // BYTE_BITS)

    def _packed(self, codes: NDArray[np.uint8]) -> bytes:
        if self.bits == BYTE_BITS:
            return codes.tobytes()
        pairs = np.zeros(codes.size + codes.size % 2, np.uint8)
        pairs[: codes.size] = codes
        return (pairs[::2] | pairs[1::2] << 4).tobytes()


def _greatest(numbers: Floats) -> float:
    """Return the greatest absolute number, as far as a scale can hold it."""
    return min(float(np.max(np.abs(numbers))), _GREATEST_SCALE)


@dataclass(slots=True)
class QuantizedReader:
    """Quantized numbers, read in blocks."""

    step: Quantize
    data: BodyBytes
    scales: NDArray[np.float32]
    dtype: str
    at: int = 0
    half: int | None = None
    """The code in the high half of the last byte, which belongs to the next number."""

    def read(self, part: int, count: int) -> Floats:
        """Return the next numbers, which belong to one part."""
        codes = self._bytes(count) if self.step.bits == BYTE_BITS else self._halves(count)
        levels = self.step.levels
        if codes.size and int(codes.max()) > 2 * levels:
            raise LayoutError(f"a number beyond ±{levels} times its scale")
        numbers = codes.astype(self.dtype)
        numbers -= levels
        if self.step.block:
            numbers *= self.scales[np.arange(self.at, self.at + count) // self.step.block]
        else:
            numbers *= self.scales[part]
        self.at += count
        return numbers

    def end(self) -> None:
        """Raise LayoutError if half a byte is left that is not 0."""
        if self.half:
            raise LayoutError("bits after the last number that are not 0")

    def _bytes(self, count: int) -> NDArray[np.uint8]:
        return np.frombuffer(self.data.take(count), np.uint8)

    def _halves(self, count: int) -> NDArray[np.uint8]:
        """Return the next codes of 4 bits: what is left of a byte, then those of whole bytes."""
        if not count:
            return np.empty(0, np.uint8)
        begun = [] if self.half is None else [self.half]
        packed = self._bytes(-(-(count - len(begun)) // 2))
        codes = np.empty(len(begun) + 2 * packed.size, np.uint8)
        codes[: len(begun)] = begun
        codes[len(begun) :: 2] = packed & 15
        codes[len(begun) + 1 :: 2] = packed >> 4
        self.half = int(codes[count]) if codes.size > count else None
        return codes[:count]
