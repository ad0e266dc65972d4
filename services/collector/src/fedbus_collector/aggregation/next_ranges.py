"""Ranges of the next round's fixed-point numbers, from what this round's updates needed. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from fedbus.model.fixed_point import GREATEST_EXPONENT
from fedbus.wire.encryption import FixedPoint, Ranges

GREATEST_GROWTH: Final = 8
"""How much an exponent rises in one round at most: by itself, no agent makes rounding useless."""


def next_ranges(
    current: Ranges, needed: Iterable[Sequence[int]], fixed_point: FixedPoint
) -> Ranges:
    """Return the exponents of the next round's ranges, one for each tensor.

    Each is the greatest that an update needed, and one more if that update was clipped: the next
    one may be longer still. Without updates, and if the job's ranges do not adapt, they stay.

    Args:
        current: The exponents of this round.
        needed: The exponents that each update which counts needed, as many as there are ranges.
        fixed_point: The job's.
    """
    rows = tuple(needed)
    if not rows or not fixed_point.adaptive:
        return current
    return tuple(
        _next(exponent, max(column))
        for exponent, column in zip(current, zip(*rows, strict=True), strict=True)
    )


def _next(current: int, greatest: int) -> int:
    wanted = greatest + (greatest > current)
    return min(wanted, current + GREATEST_GROWTH, GREATEST_EXPONENT)
