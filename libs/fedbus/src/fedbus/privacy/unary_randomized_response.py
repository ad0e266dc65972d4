"""Unary encoding and randomized response of features, as MistNet defines them. Pure.

P. Wang et al., "MistNet: Towards Private Neural Network Training with Local Differential Privacy".
A feature x becomes the bit b = 1 if x > 0, else 0. The bit that is sent is b with probability p and
1 - b with probability q = 1 - p:

    p = e^(ε/2) / (e^(ε/2) + 1),    q = 1 / (e^(ε/2) + 1),    p / q = e^(ε/2)

So one bit is (ε/2)-differentially private. Another example may have another bit in each of its D
features, so that all bits of one example together cost D·ε/2: ε is the price of an example only if
it has two features. (The name ε comes from one-hot vectors, of which any two differ in two bits.)

A sent bit r has the mean q + b·(p - q). Therefore (r - q) / (p - q) is an unbiased estimate of b,
which is what a model is trained on: the same layers then take the true bits.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedbus.model.layout import Array

RandomBytes = Callable[[int], bytes]
"""Returns that many bytes of a cryptographic generator, such as `os.urandom`."""

_DRAWS: Final = 2**64
_MAX_DRAWN_BYTES: Final = 8 * 2**20


def flip_probability(epsilon: float) -> float:
    """Return q, the probability that a bit is sent inverted: above 0 and below 1/2."""
    return math.exp(-epsilon / 2) / (1 + math.exp(-epsilon / 2))


def example_epsilon(features: int, epsilon: float) -> float:
    """Return the ε of all bits of one example under replacement by any other example."""
    return features * epsilon / 2


def packed_bytes(features: int) -> int:
    """Return the bytes of one example's bits."""
    return -(-features // 8)


def randomize(features: Array, epsilon: float, random_bytes: RandomBytes) -> NDArray[np.uint8]:
    """Encode and randomize features, shape (rows, features); return shape (rows, packed bytes).

    Each bit is compared with a random number of 64 bits. q is rounded up to a multiple of 2^-64, so
    no bit is less private than stated: with ε above 88 a bit still flips once in 2^64 times.
    """
    rows, width = features.shape
    bits = features > 0
    threshold = np.uint64(math.ceil(flip_probability(epsilon) * _DRAWS))
    step = max(1, _MAX_DRAWN_BYTES // (8 * max(width, 1)))
    for start in range(0, rows, step):
        part = bits[start : start + step]
        drawn = np.frombuffer(random_bytes(8 * part.size), np.uint64).reshape(part.shape)
        part ^= drawn < threshold
    return np.packbits(bits, axis=1)


def estimated_bits(packed: NDArray[np.uint8], features: int, epsilon: float) -> NDArray[np.float32]:
    """Return unbiased estimates of the encoded bits, shape (rows, features), float32."""
    sent = np.unpackbits(packed, axis=1, count=features).astype(np.float32)
    q = flip_probability(epsilon)
    return (sent - np.float32(q)) / np.float32(1 - 2 * q)
