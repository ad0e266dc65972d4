"""Numbers in messages, rounded so that a comparison is never shown the wrong way. Pure."""

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from math import isfinite

_MAX_SIGNIFICANT_DIGITS = 17
_TENTH = Decimal("0.1")
_FLOAT32 = Decimal("1e-5")
"""Rounding error of a fraction in float32, in percent."""


def format_against(value: float, limit: float, digits: int = 4) -> str:
    """Format a value that is compared with a limit: 0.8997 is not 0.9 next to a limit of 0.9."""
    for more in range(digits, _MAX_SIGNIFICANT_DIGITS):
        text = f"{value:.{more}g}"
        found = float(text)
        if (found < limit, found > limit) == (value < limit, value > limit):
            return text
    return repr(value)


def format_conservatively(value: float, digits: int, *, lower_is_better: bool) -> str:
    """Format a metric with `digits` significant digits, rounded towards the worse value."""
    if not isfinite(value) or value == 0:
        return f"{value:g}"
    exact = Decimal(repr(float(value)))
    step = Decimal(1).scaleb(exact.adjusted() - digits + 1)
    kept = exact.quantize(step, ROUND_CEILING if lower_is_better else ROUND_FLOOR)
    return f"{float(kept):.{digits}g}"


def format_percent(fraction: float) -> str:
    """Format a fraction as a percentage, rounded to a tenth: 0.910864 is `91.1 %`.

    Targets are mostly whole percents, so a fraction below one is not rounded up to it: 0.8997 is
    `89.97 %`, and `100 %` means all. The float32 value of a whole percent counts as that percent.
    """
    if not isfinite(fraction):
        return f"{fraction} %"
    exact = Decimal(repr(float(fraction))) * 100
    near = exact.quantize(_TENTH, ROUND_HALF_UP)
    if near != near.to_integral_value() or near - exact <= _FLOAT32:
        return f"{near} %"
    for step in (_TENTH.scaleb(-1), _TENTH.scaleb(-2)):
        finer = exact.quantize(step, ROUND_HALF_UP)
        if finer < near:
            return f"{finer} %"
    return f"{exact.quantize(_TENTH.scaleb(-2), ROUND_FLOOR)} %"
