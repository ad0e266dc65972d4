"""Arithmetic of updates by dtype: checks of differences, and their mean added to a base. Pure.

Floats are added in float64 and rounded to their dtype. An integer, such as the batch counter of a
batch normalisation, changes by the mean difference, rounded half to even: a constant keeps its
exact value. A boolean changes where agents with more than half of the total weight changed it.
See docs/adr/0015-every-dtype-is-averaged.md.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedbus.errors import LayoutError
from fedbus.model.blob import check_update
from fedbus.model.layout import Array

_MAX_STEP: Final = 2.0**63


class InvalidNumber(LayoutError):  # noqa: N818 - names the number, not the error
    """A number that a model cannot hold; `index` is its position in the block."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(why)
        self.index = index


def check_difference(numbers: Array, dtype: str) -> None:
    """Validate the differences of an update to its base, shape (numbers,); `dtype` is the base's.

    Raises:
        InvalidNumber: a difference is not finite, or larger than the range of `dtype`.
    """
    kind = np.dtype(dtype)
    if kind.kind == "f":
        _check_finite(numbers, "is not a finite number")
    elif kind.itemsize < np.dtype(np.int64).itemsize:
        span = 1 if kind.kind == "b" else np.iinfo(kind).max - int(np.iinfo(kind).min)
        _check(np.abs(numbers.astype(np.int64)) <= span, numbers, f"changes no {dtype}")


def add_mean(old: Array, mean: NDArray[np.float64], what: str = "the mean") -> Array:
    """Return the base's numbers plus the mean differences, in the base's dtype; overwrite `mean`.

    Both have the shape (numbers,); `what` is in errors.

    Raises:
        InvalidNumber: a sum is outside the range of the dtype.
    """
    dtype = old.dtype.newbyteorder("=")
    if dtype.kind == "f":
        with np.errstate(over="ignore"):  # refused in the next line
            new = np.add(old, mean, out=mean).astype(old.dtype)
        _check_finite(new, f"is not a finite number: {what} overflows {dtype.name}")
        return new
    steps = np.rint(mean)
    beyond = f"more than the base is no {dtype.name}"
    _check(np.abs(steps) < _MAX_STEP, steps, beyond)
    whole = steps.astype(np.int64)
    if dtype.itemsize == whole.itemsize:
        new = old + whole.astype(dtype)  # modulo 2^64
        fits = (new >= old) == (whole >= 0)
    else:
        wide = old.astype(np.int64) + whole
        low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        fits = (wide >= low) & (wide <= high)
        new = wide.astype(dtype)
    _check(fits, steps, beyond)
    return new.astype(old.dtype)


def as_dtype(numbers: NDArray[np.float64], dtype: np.dtype[Any], what: str) -> Array:
    """Round numbers to a floating-point dtype; `what` says in errors what they are.

    Raises:
        InvalidNumber: a number is outside the range of the dtype.
    """
    with np.errstate(over="ignore"):  # refused in the next line
        rounded = numbers.astype(dtype)
    _check_finite(rounded, f"is not a finite number: {what} overflows {dtype.name}")
    return rounded


def _check_finite(numbers: Array, why: str) -> None:
    try:
        check_update(numbers)  # quick if all numbers are finite
    except LayoutError:
        _check(np.isfinite(numbers), numbers, why)


def _check(fits: NDArray[np.bool_], numbers: Array, why: str) -> None:
    if not fits.all():
        index = int(fits.argmin())
        raise InvalidNumber(index, f"{numbers[index]} {why}")
