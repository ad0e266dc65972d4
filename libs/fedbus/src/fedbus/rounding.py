"""Figures in sentences, rounded so that no comparison seems to have gone the other way. Pure."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from math import isfinite

_MOST_DIGITS = 17


def beside(value: float, limit: float, digits: int = 4) -> str:
    """Write a value beside a limit that it is held against: 0.8997 is not 0.9 beside 0.9."""
    for more in range(digits, _MOST_DIGITS):
        text = f"{value:.{more}g}"
        found = float(text)
        if (found < limit, found > limit) == (value < limit, value > limit):
            return text
    return repr(value)


def cautious(value: float, digits: int, *, lower_is_better: bool) -> str:
    """Write a figure with so many significant digits, rounded to the side that claims less."""
    if not isfinite(value) or value == 0:
        return f"{value:g}"
    exact = Decimal(repr(float(value)))
    step = Decimal(1).scaleb(exact.adjusted() - digits + 1)
    kept = exact.quantize(step, ROUND_CEILING if lower_is_better else ROUND_FLOOR)
    return f"{float(kept):.{digits}g}"


def percent(share: float) -> str:
    """Write a share, rounded down: `91.3 %`; 100 % is all."""
    if not isfinite(share):
        return f"{share} %"
    whole = (Decimal(repr(float(share))) * 100).quantize(Decimal("0.1"), ROUND_FLOOR)
    return f"{whole} %"
