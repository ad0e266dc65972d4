"""Ranges of the next round: they follow the updates, and no agent alone makes them useless."""

import pytest

from fedbus.wire.encryption import FixedPoint
from fedbus_collector.aggregation.next_ranges import next_ranges

ADAPTIVE = FixedPoint(bits=11, max_agents=4, max_examples=1)


@pytest.mark.parametrize(
    ("current", "needed", "expected"),
    [
        ((0, 0), [(-3, -5), (-4, -2)], (-3, -2)),  # they shrink to the greatest that was needed
        ((0, 0), [(0, 1), (-1, 0)], (0, 2)),  # one update was clipped: one more than it needed
        ((0, 0), [(127, -126)], (8, -126)),  # an agent that claims too much
        ((126, 127), [(127, 127)], (127, 127)),
        ((-3, 5), [], (-3, 5)),  # a round without updates
        ((), [(), ()], ()),
    ],
)
def test_ranges_follow_the_greatest_exponent_that_was_needed(
    current: tuple[int, ...], needed: list[tuple[int, ...]], expected: tuple[int, ...]
) -> None:
    """A range that is too small clips updates, and one that is too large rounds them away."""
    assert next_ranges(current, needed, ADAPTIVE) == expected


def test_ranges_of_a_job_that_does_not_adapt_stay() -> None:
    """Then nothing about an agent's update is readable but its length."""
    fixed = FixedPoint(bits=11, max_agents=4, max_examples=1, adaptive=False)
    assert next_ranges((0, 1), [(5, 5)], fixed) == (0, 1)
