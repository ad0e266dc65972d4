"""The values an argument may have, and how a wrong one is said to be wrong."""

import pytest

from fedbus.training.options.domains import (
    COUNT,
    DECAY,
    FLAG,
    FRACTION,
    NOT_NEGATIVE,
    PAIR_OF_DECAYS,
    POSITIVE,
    REAL,
    WORD,
    Domain,
    one_of,
)
from fedbus.training.params import Argument

MILESTONES = Domain(kind="wholes", least=0)


@pytest.mark.parametrize(
    ("domain", "value"),
    [
        (FLAG, True),
        (COUNT, 0),
        (REAL, -1e300),
        (REAL, 3),
        (DECAY, 0.999),
        (FRACTION, 1),
        (POSITIVE, 1e-30),
        (WORD, "anything"),
        (one_of("min", "max"), "max"),
        (MILESTONES, (0, 5, 9)),
        (PAIR_OF_DECAYS, (0.9, 0.999)),
        (Domain(kind="reals"), (0.5, 1)),
    ],
)
def test_a_value_within_its_bounds_has_no_fault(domain: Domain, value: Argument) -> None:
    """Whole numbers are numbers too."""
    assert domain.fault(value) == ""


@pytest.mark.parametrize(
    ("domain", "value", "fault"),
    [
        (FLAG, 1, "expected true or false, got 1"),
        (COUNT, True, "expected a whole number, got True"),
        (COUNT, 1.0, "expected a whole number, got 1.0"),
        (COUNT, -1, "expected at least 0, got -1"),
        (COUNT, 2**31, "expected at most 2147483647, got 2147483648"),
        (REAL, "1", "expected a number, got '1'"),
        (REAL, float("nan"), "expected a number, got nan"),
        (NOT_NEGATIVE, -0.5, "expected at least 0, got -0.5"),
        (POSITIVE, 0.0, "expected more than 0, got 0"),
        (FRACTION, 1.5, "expected at most 1, got 1.5"),
        (DECAY, 1, "expected less than 1, got 1"),
        (WORD, 5, "expected text, got 5"),
        (one_of("min", "max"), "least", "'least' is none of min, max"),
        (MILESTONES, (1, 2.0), "expected whole numbers, got (1, 2.0)"),
        (MILESTONES, (3, -1), "expected at least 0, got -1"),
        (MILESTONES, (), "an empty list"),
        (PAIR_OF_DECAYS, 0.9, "expected numbers, got 0.9"),
        (PAIR_OF_DECAYS, (0.9,), "expected 2 numbers, got 1"),
        (PAIR_OF_DECAYS, (0.9, 1.0), "expected less than 1, got 1"),
    ],
)
def test_a_fault_has_the_value_and_the_bound(domain: Domain, value: Argument, fault: str) -> None:
    """The caller knows the place."""
    assert domain.fault(value) == fault


@pytest.mark.parametrize(
    ("domain", "text"),
    [
        (FLAG, "true or false"),
        (COUNT, "a whole number, at least 0"),
        (Domain(kind="real", above=0, most=1), "a number, more than 0, at most 1"),
        (one_of("min", "max"), "one of `min`, `max`"),
        (
            PAIR_OF_DECAYS,
            "2 numbers: a number, at least 0, less than 1; a number, at least 0, less than 1",
        ),
    ],
)
def test_a_domain_reads_as_people_do(domain: Domain, text: str) -> None:
    """The documentation is made of it."""
    assert str(domain) == text
