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

from fedbus.compression.number_coding import Floats, Part
from fedbus.errors import LayoutError

BYTE_BITS: Final = 8
_GREATEST_SCALE: Final = float(np.finfo("float32").max)


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
            block = np.clip(numbers[start:stop], -_GREATEST_SCALE, _GREATEST_SCALE)
            scales[index], codes[start:stop] = self._codes(block, rng)
        return scales.tobytes() + self._packed(codes)

    def read(self, data: memoryview, parts: Sequence[Part], dtype: str) -> Floats:
        """Return the numbers; raise LayoutError for a scale or a code that is never written."""
        scales = np.frombuffer(data, "<f4", self._scales(parts))
        if not (np.isfinite(scales) & (scales >= 0)).all():
            raise LayoutError("a scale that is not a finite number, 0 or greater")
        count = sum(part.count for part in parts)
        codes = self._unpacked(np.frombuffer(data, np.uint8, -1, scales.nbytes), count)
        if count and int(codes.max()) > 2 * self.levels:
            raise LayoutError(f"a number beyond ±{self.levels} times its scale")
        numbers = codes.astype(dtype)
        numbers -= self.levels
        for scale, (start, stop) in zip(scales, self._blocks(parts), strict=True):
            numbers[start:stop] *= scale
        return numbers

    def _codes(
        self, block: Floats, rng: np.random.Generator
    ) -> tuple[np.float32, NDArray[np.uint8]]:
        greatest = float(np.max(np.abs(block), initial=0.0))
        scale = np.float32(greatest / self.levels)
        if not scale:
            return scale, np.full(block.size, self.levels, np.uint8)
        multiples = block / block.dtype.type(scale) + rng.random(block.size, np.float32)
        np.floor(multiples, out=multiples)
        np.clip(multiples, -self.levels, self.levels, out=multiples)
        return scale, (multiples + self.levels).astype(np.uint8)

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

    def _unpacked(self, data: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
        if self.bits == BYTE_BITS:
            return data
        pairs = np.empty(2 * data.size, np.uint8)
        pairs[::2] = data & 15
        pairs[1::2] = data >> 4
        if pairs[count:].any():
            raise LayoutError("bits after the last number that are not 0")
        return pairs[:count]
