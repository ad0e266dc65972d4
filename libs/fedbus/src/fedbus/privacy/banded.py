"""Banded noise: noise of a round that later rounds partly take back. Pure.

N. Kalinin, C. Lampert, Banded Square Root Matrix Factorization for Differentially Private Model
Training, 2024, arXiv 2405.13763; C. A. Choquette-Choo et al., (Amplified) Banded Matrix
Factorization, 2023, arXiv 2306.08153 (BandMF). A model is the sum of the updates of all rounds, A x
with a lower triangle A of ones. Its square root C is a Toeplitz matrix with the first column

    c_0 = 1,   c_k = c_(k-1) · (2k - 1) / (2k),   here 0 from k = p on (p bands),

and A x is released as A C⁻¹ (C x + z) with z ~ N(0, (sigma s)² I): each round's sum gets the noise

    n_t = Σ_k d_k z_(t-k),   where d is the first column of C⁻¹.

The sensitivity s is the greatest change of C x that one agent of norm 1 makes. Its steps are at
least b ≥ p apart, so no two of its columns of C overlap; with at most k participations
s = sqrt(k) · ||c||. The whole job is then one Gaussian mechanism with the noise multiplier sigma.

Steps are ledger entries: a failed round whose noise was drawn is one of them.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from fedbus.privacy.noise_numbers import Numbers

MAX_BANDED_NUMBERS: Final = 5 * 10**9
"""The most numbers of noise that one round may draw again: (earlier steps + 1) * trained numbers.

On one core of 2023 they take four minutes (0.05 s for a million, `benchmarks/noise.py`).
"""
MAX_BANDED_STEPS: Final = 10_000
"""Steps that fit the one message by which a collector learns what earlier noise was drawn from."""


def coefficients(bands: int) -> Numbers:
    """Return c_0 to c_(p-1) of the square root, shape (bands,)."""
    k = np.arange(1, bands)
    return np.concatenate([[1.0], np.cumprod((2 * k - 1) / (2 * k))])


def inverse_coefficients(bands: int, steps: int) -> Numbers:
    """Return d_0 to d_(steps-1), the first column of C⁻¹: Σ_i c_i d_(k-i) = 0 for k > 0."""
    column = coefficients(bands)
    inverse = np.zeros(steps)
    inverse[0] = 1.0
    for k in range(1, steps):
        reach = min(bands - 1, k)
        inverse[k] = -column[1 : reach + 1] @ inverse[k - reach : k][::-1]
    return inverse


def banded_sensitivity(bands: int, participations: int) -> float:
    """Return s, for steps of one agent that are at least `bands` apart."""
    return math.sqrt(participations) * float(np.linalg.norm(coefficients(bands)))


def banded_noise(normals: Callable[[int], Numbers], inverse: Numbers) -> Numbers:
    """Return a block of n_t / (sigma s): two blocks are in memory at a time.

    Args:
        normals: Returns the block of z of a number of steps ago, standard normal.
        inverse: d_0 to d_t: one coefficient for each step so far.
    """
    total: Numbers = inverse[0] * normals(0)
    for back, coefficient in enumerate(inverse[1:], start=1):
        total += coefficient * normals(back)
    return total


def banded_cost_fault(steps: int, numbers: int) -> str:
    """Return why the last of this many steps would draw too many numbers, or ""."""
    if steps * numbers <= MAX_BANDED_NUMBERS:
        return ""
    return (
        f"banded noise of {steps:,} steps for {numbers:,} trained numbers: each round draws the "
        f"noise of all earlier ones again, at most {MAX_BANDED_NUMBERS:,} numbers; so at most "
        f"{MAX_BANDED_NUMBERS // numbers:,} rounds of this model, or dp-fixed"
    )
