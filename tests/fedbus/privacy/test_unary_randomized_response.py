"""Randomized response of features: its probabilities, its cost, its estimates."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from fedbus.privacy.unary_randomized_response import (
    estimated_bits,
    example_epsilon,
    flip_probability,
    randomize,
)

ROWS, FEATURES = 500, 203


def chance(seed: int) -> Callable[[int], bytes]:
    """Return a source of bytes with a fixed seed, in the place of `os.urandom`."""
    return np.random.default_rng(seed).bytes


def signs(seed: int = 1) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Return features of both signs, and zeros."""
    rng = np.random.default_rng(seed)
    return (rng.integers(-1, 2, (ROWS, FEATURES)) * rng.random((ROWS, FEATURES))).astype(np.float32)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 2.0, 4.0, 10.0])
def test_a_bit_is_kept_with_the_probability_of_the_paper(epsilon: float) -> None:
    """Flips of ones and of zeros are binomial with q = 1/(e^(ε/2)+1), and p/q is e^(ε/2)."""
    q = flip_probability(epsilon)
    assert q == pytest.approx(1 / (math.exp(epsilon / 2) + 1))
    assert (1 - q) / q == pytest.approx(math.exp(epsilon / 2))
    truth = signs() > 0
    packed = randomize(signs(), epsilon, chance(7))
    flipped = np.unpackbits(packed, axis=1, count=FEATURES).astype(bool) != truth
    for group in (flipped[truth], flipped[~truth]):
        assert stats.binomtest(int(group.sum()), group.size, q).pvalue > 0.001


def test_flips_are_independent_of_each_other() -> None:
    """Flips of one example, and of one feature, are sums of independent ones: a KS test."""
    flipped = np.unpackbits(randomize(-np.ones((2000, 64)), 2.0, chance(3)), axis=1)
    for sums, count in ((flipped.sum(axis=1), 64), (flipped.sum(axis=0), 2000)):
        q = flip_probability(2.0)
        scaled = (sums - count * q) / math.sqrt(count * q * (1 - q))
        jittered = scaled + np.random.default_rng(1).uniform(-0.5, 0.5, scaled.size) / math.sqrt(
            count * q * (1 - q)
        )
        assert stats.kstest(jittered, "norm").pvalue > 0.001


def test_all_bits_of_an_example_together_cost_half_epsilon_each() -> None:
    """128 features with ε 100 are an ε of 6400 for one example, not of 100."""
    assert example_epsilon(128, 100.0) == 6400.0
    assert example_epsilon(2, 1.5) == 1.5


def test_estimates_have_the_true_bit_as_their_mean() -> None:
    """The mean of the estimates of equal bits is that bit, within five standard errors."""
    features = np.tile([[1.0, -1.0, 0.0]], (60_000, 1))
    estimates = estimated_bits(randomize(features, 1.0, chance(5)), 3, 1.0)
    q = flip_probability(1.0)
    error = 5 * math.sqrt(q * (1 - q) / 60_000) / (1 - 2 * q)
    np.testing.assert_allclose(estimates.mean(axis=0), [1, 0, 0], atol=error)
    assert estimates.dtype == np.float32


def test_a_bit_still_flips_with_a_huge_epsilon() -> None:
    """With ε 100, q is less than 2^-64, and is rounded up to it: a draw of 0 flips, 1 does not."""
    ones = np.ones((1, 2))
    draws = np.array([0, 1], np.uint64).tobytes()
    np.testing.assert_array_equal(randomize(ones, 100.0, lambda _: draws), [[0b0100_0000]])


def test_many_features_are_randomized_in_parts() -> None:
    """Random bytes are drawn for a few rows at a time, so that memory stays bounded."""
    asked = []

    def counted(size: int) -> bytes:
        asked.append(size)
        return bytes([255]) * size

    packed = randomize(np.ones((5, 2**19), np.float32), 2.0, counted)
    assert asked == [2 * 8 * 2**19, 2 * 8 * 2**19, 8 * 2**19]
    assert (packed == 255).all()
