"""How updates are checked, and a mean is added, in each dtype that a layout may have. Pure.

Floats are added in float64 and rounded to their dtype. Whole numbers, such as the batches that a
batch normalisation has counted, move by the mean of their differences, rounded to the nearest (to
the even one from the middle): a constant stays what it is, to the last bit. A truth value changes
where more than half of the weight changed it.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedbus.errors import LayoutError
from fedbus.model.blob import check_update
from fedbus.model.layout import Array

_MAX_STEP: Final = 2.0**63


class InvalidNumber(LayoutError):  # noqa: N818 - the number is bad, not the code
    """A number that no model may hold; `index` says which of the block it is."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(why)
        self.index = index


def check_difference(numbers: Array, dtype: str) -> None:
    """Refuse a block of an update that would spoil a mean.

    Args:
        numbers: What the delta holds, shape (numbers,).
        dtype: Of the tensor itself.

    Raises:
        InvalidNumber: one is not finite, or farther from 0 than two numbers of the dtype are apart.
    """
    kind = np.dtype(dtype)
    if kind.kind == "f":
        _check_finite(numbers, "is not a finite number")
    elif kind.itemsize < np.dtype(np.int64).itemsize:
        span = 1 if kind.kind == "b" else np.iinfo(kind).max - int(np.iinfo(kind).min)
        _check(np.abs(numbers.astype(np.int64)) <= span, numbers, f"changes no {dtype}")


def moved(old: Array, mean: NDArray[np.float64]) -> Array:
    """Add the mean of differences to numbers of the base; both have shape (numbers,).

    `mean` is written over.

    Raises:
        InvalidNumber: the sum is none of the dtype's numbers.
    """
    dtype = old.dtype.newbyteorder("=")
    if dtype.kind == "f":
        with np.errstate(over="ignore"):  # refused in the next line
            new = np.add(old, mean, out=mean).astype(old.dtype)
        _check_finite(new, f"is not a finite number: the mean overflows {dtype.name}")
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


def _check_finite(numbers: Array, why: str) -> None:
    try:
        check_update(numbers)  # which is quick where all are well
    except LayoutError:
        _check(np.isfinite(numbers), numbers, why)


def _check(fits: NDArray[np.bool_], numbers: Array, why: str) -> None:
    if not fits.all():
        index = int(fits.argmin())
        raise InvalidNumber(index, f"{numbers[index]} {why}")
