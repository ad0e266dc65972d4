"""Figures in sentences, rounded so that no comparison seems to have gone the other way. Pure."""

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from math import isfinite

_MOST_DIGITS = 17
_TENTH = Decimal("0.1")
_FLOAT32 = Decimal("1e-5")
"""So many percent a share in float32 may be below the number that it stands for."""


def format_against(value: float, limit: float, digits: int = 4) -> str:
    """Write a value beside a limit that it is held against: 0.8997 is not 0.9 beside 0.9."""
    for more in range(digits, _MOST_DIGITS):
        text = f"{value:.{more}g}"
        found = float(text)
        if (found < limit, found > limit) == (value < limit, value > limit):
            return text
    return repr(value)


def format_conservatively(value: float, digits: int, *, lower_is_better: bool) -> str:
    """Write a figure with so many significant digits, rounded to the side that claims less."""
    if not isfinite(value) or value == 0:
        return f"{value:g}"
    exact = Decimal(repr(float(value)))
    step = Decimal(1).scaleb(exact.adjusted() - digits + 1)
    kept = exact.quantize(step, ROUND_CEILING if lower_is_better else ROUND_FLOOR)
    return f"{float(kept):.{digits}g}"


def format_percent(share: float) -> str:
    """Write a share, rounded to the nearest tenth of a percent: `91.1 %` of 0.910864.

    Targets are whole percents as a rule, so a share that has not reached one is not rounded up to
    it: 0.8997 is `89.97 %`, and 100 % is all. What float32 makes of a whole percent counts as it.
    """
    if not isfinite(share):
        return f"{share} %"
    exact = Decimal(repr(float(share))) * 100
    near = exact.quantize(_TENTH, ROUND_HALF_UP)
    if near != near.to_integral_value() or near - exact <= _FLOAT32:
        return f"{near} %"
    for step in (_TENTH.scaleb(-1), _TENTH.scaleb(-2)):
        finer = exact.quantize(step, ROUND_HALF_UP)
        if finer < near:
            return f"{finer} %"
    return f"{exact.quantize(_TENTH.scaleb(-2), ROUND_FLOOR)} %"
