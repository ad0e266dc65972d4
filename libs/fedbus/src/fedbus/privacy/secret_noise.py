"""Noise that an agent draws: numbers of the system's cryptographic generator, never drawn twice."""

import os
from collections.abc import Callable

import numpy as np

from fedbus.privacy.noise_numbers import (
    NORMAL_BYTES,
    UNIFORM_BYTES,
    Numbers,
    normals_of,
    uniforms_of,
)

RandomBytes = Callable[[int], bytes]
"""Returns as many random bytes as it is asked for."""
_BLOCK: int = 2**16
"""Numbers that are drawn at once: half a megabyte of random bytes."""


class EphemeralNoise:
    """The source of noise for agents; fits `fedbus.plugins.SecretNoise`.

    Args:
        random_bytes: Where the random bytes come from: `os.urandom`, but in tests.
    """

    __slots__ = ("_bytes",)

    def __init__(self, random_bytes: RandomBytes = os.urandom) -> None:
        self._bytes = random_bytes

    def normals(self, count: int, /) -> Numbers:
        """Return independent numbers of the standard normal distribution, shape (count,)."""
        even = count + count % 2
        return self._drawn(even, NORMAL_BYTES, normals_of)[:count]

    def uniforms(self, count: int, /) -> Numbers:
        """Return independent numbers of the uniform distribution, above 0 and below 1."""
        return self._drawn(count, UNIFORM_BYTES, uniforms_of)

    def _drawn(self, count: int, size: int, numbers_of: Callable[[bytes], Numbers]) -> Numbers:
        drawn = np.empty(count)
        for start in range(0, count, _BLOCK):
            length = min(_BLOCK, count - start)
            drawn[start : start + length] = numbers_of(self._bytes(size * length))
        return drawn
