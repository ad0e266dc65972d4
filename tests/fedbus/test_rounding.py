"""No sentence contradicts the comparison that it tells of."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.rounding import beside, cautious, percent

numbers = st.floats(-1e12, 1e12)


@given(numbers, numbers)
def test_a_value_beside_a_limit_stands_on_its_side(value: float, limit: float) -> None:
    """However near they are."""
    found = float(beside(value, limit))
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
    assert beside(value, limit) == said


@given(numbers, st.booleans())
def test_a_cautious_figure_claims_no_more_than_is_true(value: float, lower: bool) -> None:
    """A loss is rounded up, a similarity down; and it is near."""
    said = float(cautious(value, 4, lower_is_better=lower))
    assert said >= value if lower else said <= value
    assert said == pytest.approx(value, rel=1e-3)


def test_what_is_no_number_is_said_as_it_is() -> None:
    """A table must not break over it."""
    assert cautious(math.nan, 4, lower_is_better=True) == "nan"
    assert cautious(math.inf, 4, lower_is_better=False) == "inf"
    assert cautious(0.0, 4, lower_is_better=False) == "0"
    assert percent(math.nan) == "nan %"


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.8997, "89.9 %"), (0.29, "29.0 %"), (0.99999, "99.9 %"), (1.0, "100.0 %"), (0.0, "0.0 %")],
)
def test_a_share_is_rounded_down(share: float, said: str) -> None:
    """0.29 is 29 %, though 100 times its float is less."""
    assert percent(share) == said
