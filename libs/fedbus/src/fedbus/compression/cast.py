"""Step `cast`: numbers in float16. Pure."""

from collections.abc import Sequence

import numpy as np

from fedbus.compression.body_bytes import BodyBytes
from fedbus.compression.number_coding import Floats, NumberReader, Part, PlainReader, clipped


class Float16Numbers:
    """Numbers in float16: 11 significant bits, steps of 6e-8 near zero.

    A number beyond ±65504 is clipped to that, the largest finite one.
    """

    def size(self, parts: Sequence[Part]) -> int:
        """Return two bytes for each number."""
        return 2 * sum(part.count for part in parts)

    def write(self, numbers: Floats, parts: Sequence[Part], rng: np.random.Generator) -> bytes:  # noqa: ARG002 - rounds to the nearest
        """Return the numbers, rounded to the nearest ones of float16."""
        return clipped(numbers, "float16").tobytes()

    def reader(self, data: BodyBytes, parts: Sequence[Part], dtype: str) -> NumberReader:
        """Begin to read numbers; NaN and infinity, which are never written, are refused."""
        return PlainReader(data, ("float16",) * len(parts), dtype, finite="float16")
