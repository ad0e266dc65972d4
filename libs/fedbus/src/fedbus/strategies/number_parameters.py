"""Checks of the parameters that a job gives to the parts of a strategy. Pure."""

from math import isfinite
from typing import Final

LEAST_POSITIVE: Final = 1e-30
"""The least value of a parameter above 0: a division by its square overflows no float64."""

MOST: Final = 1e6
"""The greatest rate or factor: a product with it overflows no update that is of use."""

MAX_WHOLE_PARAMETER: Final = 2**31
"""The greatest whole number, unless a parameter sets an amount of work."""


def positive(name: str, value: float, most: float = MOST) -> float:
    """Return a parameter as a float; raise ValueError unless it is in [LEAST_POSITIVE, most]."""
    number = _checked(name, value, "a number above 0", _is_number(value) and value > 0)
    return _within(name, number, LEAST_POSITIVE, most)


def not_negative(name: str, value: float, most: float = MOST) -> float:
    """Return a parameter as a float; raise ValueError unless it is a number in [0, most]."""
    number = _checked(name, value, "a number of at least 0", _is_number(value) and value >= 0)
    return _within(name, number, 0, most)


def decay(name: str, value: float) -> float:
    """Return a factor of decay as a float; raise ValueError unless it is in [0, 1)."""
    fits = _is_number(value) and 0 <= value < 1
    return float(_checked(name, value, "a number from 0 to below 1", fits))


def whole(name: str, value: int, least: int = 0, most: int = MAX_WHOLE_PARAMETER) -> int:
    """Return a parameter; raise ValueError unless it is a whole number in [least, most]."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name}: expected a whole number of at least {least}, got {value!r}")
    if value > most:
        raise ValueError(f"{name}: expected a whole number of at most {most:,}, got {value!r}")
    return value


def flag(name: str, value: bool) -> bool:  # noqa: FBT001 - the value that is checked
    """Return a parameter; raise ValueError unless it is true or false."""
    if value is not True and value is not False:
        raise ValueError(f"{name}: expected true or false, got {value!r}")
    return value


def _is_number(value: object) -> bool:
    # A job may give text, flags and lists as well; a flag is an int to Python.
    if isinstance(value, float):
        return isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _checked(name: str, value: float, expected: str, fits: bool) -> float:  # noqa: FBT001 - the check's result
    if not fits:
        raise ValueError(f"{name}: expected {expected}, got {value!r}")
    return value


def _within(name: str, number: float, least: float, most: float) -> float:
    # An int may be too large for a float, so it is compared first.
    if number < least:
        raise ValueError(f"{name}: expected a number of at least {least:g}, got {number!r}")
    if number > most:
        raise ValueError(f"{name}: expected a number of at most {most:,g}, got {number!r}")
    return float(number)
