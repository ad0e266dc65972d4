"""Numbers of noise from random bytes: uniform and normal ones, and the grid they end on. Pure.

A number of a computer is one of finitely many, and that can betray a secret: sums of two different
secrets with noise in float64 can have different sets of possible values, so one look at the lowest
bits tells them apart (I. Mironov, On Significance of the Least Significant Bits for Differential
Privacy, 2012; N. Holohan, S. Braghin, Secure Random Sampling in Differential Privacy, 2021, arXiv
2107.10138). Two measures keep those bits from everyone:

- Every noised number is rounded to a grid, a power of two of about 2^-20 of the noise's standard
  deviation, as the last step (`on_grid`). If the noise was drawn from all real numbers, that would
  be a function of the noised number alone, and no such function weakens differential privacy.
- What is drawn comes so near to real numbers that the grid hides the difference. The radius of
  Box and Muller's method has 75 random bits, the angle 53: below a radius of 8.8, which is exceeded
  once in 2^55 pairs, neighbouring radii are nearer than a step of the grid. Float64 computes a
  number within 2^-40 standard deviations, but for one pair in 2^29 near 0. The greatest number is
  10.3 standard deviations; a true normal number is greater once in 2^79.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
"""Shape (numbers,), float64."""

NORMAL_BYTES: Final = 8
"""Random bytes of one normal number; they are drawn in pairs."""
UNIFORM_BYTES: Final = 8
"""Random bytes of one uniform number."""
GRID_BITS: Final = 20
"""A noised number is rounded to 2^-20 of the noise's scale, or less."""
MOST_DEVIATIONS: Final = 11.0
"""More standard deviations than any normal number here is away from 0."""
USUAL_DEVIATIONS: Final = 6.0
"""A number of the standard normal distribution is greater than this once in 5 * 10^8."""
_ANGLE_BITS: Final = 53


def normals_of(stream: bytes | bytearray | memoryview) -> Numbers:
    """Return two independent standard normal numbers for each 16 bytes.

    G. Box, M. Muller, A Note on the Generation of Random Normal Deviates, 1958:
    sqrt(-2 ln u) * cos(2 pi v) and sqrt(-2 ln u) * sin(2 pi v) of two uniform numbers u and v.
    """
    words = np.frombuffer(stream, "<u8").reshape(-1, 2)
    high, low = words[:, 0], words[:, 1]
    # u has 75 bits and a half: never 0, and near 0 all of them count.
    u = high.astype(np.float64)
    u += ((low >> np.uint64(_ANGLE_BITS)).astype(np.float64) + 0.5) * 2.0 ** (_ANGLE_BITS - 64)
    u *= 2.0**-64
    angle = (low & np.uint64(2**_ANGLE_BITS - 1)).astype(np.float64)
    angle *= 2 * math.pi * 2.0**-_ANGLE_BITS
    np.log(u, out=u)
    u *= -2
    radius = np.sqrt(u, out=u)
    pairs = np.empty((len(words), 2))
    np.multiply(radius, np.cos(angle), out=pairs[:, 0])
    np.multiply(radius, np.sin(angle), out=pairs[:, 1])
    return pairs.reshape(-1)


def uniforms_of(stream: bytes | bytearray | memoryview) -> Numbers:
    """Return a uniform number for each 8 bytes: an odd multiple of 2^-53, above 0 and below 1."""
    words = np.frombuffer(stream, "<u8")
    return ((words >> np.uint64(11)) | np.uint64(1)).astype(np.float64) * 2.0**-53


def laplace_of(normals: Numbers) -> Numbers:
    """Return a quarter as many numbers of the Laplace distribution with scale 1.

    Half of the sum of two squares of normal numbers is an exponential number, and the difference of
    two of those is a Laplace number; the second one fills the gaps that float64 leaves between
    large values of the first one. As the radius of a pair has 75 random bits, a Laplace number is
    at most 53: a true one is greater once in 2^76, which is the δ of that noise in one number.
    """
    pairs = np.square(normals).reshape(-1, 2).sum(axis=1) / 2
    difference: Numbers = pairs[0::2] - pairs[1::2]
    return difference


def on_grid(noised: Numbers, scale: float) -> Numbers:
    """Round noised numbers to the grid of noise with this scale; the last step of any mechanism.

    Args:
        noised: Numbers with noise of standard deviation, or Laplace scale, `scale`.
        scale: Above 0.
    """
    step = grid_step(scale)
    rounded: Numbers = np.rint(noised / step) * step
    return rounded


def number_on_grid(noised: float, scale: float) -> float:
    """Round one noised number, as `on_grid` does."""
    return float(on_grid(np.array([noised]), scale)[0])


def grid_step(scale: float) -> float:
    """Return the distance of two numbers of the grid: a power of two, at most scale * 2^-20."""
    _, exponent = math.frexp(scale)
    return math.ldexp(1.0, exponent - 1 - GRID_BITS)
