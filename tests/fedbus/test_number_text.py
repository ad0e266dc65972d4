"""No sentence contradicts the comparison that it tells of."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.number_text import format_against, format_conservatively, format_percent

numbers = st.floats(-1e12, 1e12)


@given(numbers, numbers)
def test_a_value_beside_a_limit_stands_on_its_side(value: float, limit: float) -> None:
    """However near they are."""
    found = float(format_against(value, limit))
    assert (found < limit, found > limit) == (value < limit, value > limit)


@pytest.mark.parametrize(
    ("value", "limit", "said"),
    [
        (0.8997, 0.9, "0.8997"),
        (0.89999999, 0.9, "0.89999999"),
        (1.00002, 1, "1.00002"),
        (2.18123, 1, "2.181"),
        (0.9, 0.9, "0.9"),
        (math.nextafter(1, 2), 1, "1.0000000000000002"),
    ],
)
def test_it_has_as_many_digits_as_that_needs(value: float, limit: float, said: str) -> None:
    """And four where they do."""
    assert format_against(value, limit) == said


@given(numbers, st.booleans())
def test_a_cautious_figure_claims_no_more_than_is_true(value: float, lower: bool) -> None:
    """A loss is rounded up, a similarity down; and it is near."""
    said = float(format_conservatively(value, 4, lower_is_better=lower))
    assert said >= value if lower else said <= value
    assert said == pytest.approx(value, rel=1e-3)


def test_what_is_no_number_is_said_as_it_is() -> None:
    """A table must not break over it."""
    assert format_conservatively(math.nan, 4, lower_is_better=True) == "nan"
    assert format_conservatively(math.inf, 4, lower_is_better=False) == "inf"
    assert format_conservatively(0.0, 4, lower_is_better=False) == "0"
    assert format_percent(math.nan) == "nan %"


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (24 / 36, "66.7 %"),
        (0.910864, "91.1 %"),
        (0.90042, "90.0 %"),
        (0.8994, "89.9 %"),
        (0.8997, "89.97 %"),
        (0.99999, "99.999 %"),
        (0.999996, "99.999 %"),
        (0.29, "29.0 %"),
        (0.28999999165534973, "29.0 %"),
        (1.0, "100.0 %"),
        (0.0, "0.0 %"),
    ],
)
def test_a_share_is_rounded_to_the_nearest(share: float, said: str) -> None:
    """Except onto a whole percent above it; 0.29 is 29 %, in float32 too."""
    assert format_percent(share) == said


@given(st.integers(0, 1000), st.integers(1, 1000), st.integers(1, 100))
def test_no_share_is_said_to_reach_a_whole_percent_that_it_has_not(
    right: int, wrong: int, target: int
) -> None:
    """A job that goes on beside "at least 0.9 was asked" shows no 90.0 %."""
    share = right / (right + wrong)
    said = float(format_percent(share).removesuffix(" %"))
    assert (said >= target) == (100 * right >= target * (right + wrong))
    assert abs(said - 100 * share) <= 0.05 + 1e-9
