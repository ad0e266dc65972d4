"""Checks of the parameters that a job gives to the parts of a strategy. Pure."""

from math import isfinite


def positive(name: str, value: float) -> float:
    """Return a parameter as a float; raise ValueError unless it is a number above 0."""
    return _checked(name, value, "a number above 0", _is_number(value) and value > 0)


def not_negative(name: str, value: float) -> float:
    """Return a parameter as a float; raise ValueError unless it is a number of at least 0."""
    return _checked(name, value, "a number of at least 0", _is_number(value) and value >= 0)


def decay(name: str, value: float) -> float:
    """Return a factor of decay as a float; raise ValueError unless it is in [0, 1)."""
    return _checked(name, value, "a number from 0 to below 1", _is_number(value) and 0 <= value < 1)


def whole(name: str, value: int, least: int = 0) -> int:
    """Return a parameter; raise ValueError unless it is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name}: expected a whole number of at least {least}, got {value!r}")
    return value


def flag(name: str, value: bool) -> bool:  # noqa: FBT001 - the value that is checked
    """Return a parameter; raise ValueError unless it is true or false."""
    if value is not True and value is not False:
        raise ValueError(f"{name}: expected true or false, got {value!r}")
    return value


def _is_number(value: object) -> bool:
    # A job may give text, flags and lists as well; a flag is an int to Python.
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _checked(name: str, value: float, expected: str, fits: bool) -> float:  # noqa: FBT001 - the check's result
    if not fits:
        raise ValueError(f"{name}: expected {expected}, got {value!r}")
    return float(value)
