"""Ranges and rounding of private updates: the noise of the sum is what the ledger counts."""

import numpy as np
import pytest

from fedbus.errors import PrivacyError
from fedbus.model.fixed_point import Wholes, from_fixed_point, to_fixed_point
from fedbus.model.layout import Layout, Weights
from fedbus.model.private_rounding import check_noise_is_whole, public_ranges, rounded_within

ARRAYS = {"b": np.zeros(3, np.float32), "w": np.full(2000, 0.01, np.float32)}
LAYOUT = Layout.of(ARRAYS)
RANGES = (0, 0)
NORM = float(np.linalg.norm(ARRAYS["w"]))


def rounding(bits: int, seed: int) -> Wholes:
    """Round the arrays without a norm."""
    return to_fixed_point(ARRAYS, LAYOUT, RANGES, bits, 1.0, np.random.default_rng(seed))


def length(made: Wholes, bits: int) -> float:
    """Return the L2 norm of whole numbers, as the collector reads them."""
    read = from_fixed_point(made, LAYOUT, RANGES, bits, 1, 1.0)
    return float(np.sqrt(sum(float(np.sum(array**2)) for array in read.values())))


def test_ranges_hold_the_base_and_the_bound() -> None:
    """In the order of the layout; without a base the bound alone."""
    assert public_ranges(LAYOUT, {"w": np.array([-6.0])}, 1.5) == (1, 3)
    assert public_ranges(LAYOUT, {"w": np.array([-6.0])}, 1.5, 2.0) == (2, 4)


def test_noise_that_is_whole_is_accepted() -> None:
    """A range may be greater than needed, and numbers that are not rounded have no step."""
    check_noise_is_whole((1, 3), (1, 2), 16, 0.1)
    check_noise_is_whole((1, 3), (1, 2), None, 1e-9)


def test_a_range_that_cuts_noise_off_is_declined() -> None:
    """Ten agents with the number 10 and noise of 1, clipped to 1, would send exactly 1 each."""
    with pytest.raises(PrivacyError, match=r"clips numbers to 2\^1, which cuts off .* 2\^2 is"):
        check_noise_is_whole((1, 1), (1, 2), 16, 0.1)


def test_a_step_greater_than_the_noise_is_declined() -> None:
    """Rounding would hide the noise of one agent: with 4 bits a step is 2/7."""
    check_noise_is_whole((1, 1), (1, 1), 4, 0.3)
    with pytest.raises(PrivacyError, match=r"numbers of 4 bits .* steps of 0.286, greater than"):
        check_noise_is_whole((1, 1), (1, 1), 4, 0.2)


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_a_rounded_update_is_not_longer_than_the_norm(bits: int) -> None:
    """Rounding alone makes this one up to four times as long."""
    rng = np.random.default_rng(bits)

    def rounded(update: Weights) -> Wholes:
        return to_fixed_point(update, LAYOUT, RANGES, bits, 1.0, rng)

    longest = max(length(rounding(bits, seed), bits) for seed in range(5))
    assert longest > NORM
    for _ in range(20):
        made = rounded_within(ARRAYS, LAYOUT, RANGES, bits, NORM, rounded)
        assert length(made, bits) <= NORM


def test_an_update_that_stays_too_long_is_not_sent() -> None:
    """A rounding that always returns the same is no rounding."""
    made = rounding(4, 0)
    with pytest.raises(PrivacyError, match="rounded to 4 bits is longer than the privacy mech"):
        rounded_within(ARRAYS, LAYOUT, RANGES, 4, NORM / 10, lambda _: made)
