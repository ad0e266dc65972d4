"""Checks of shapes, bytes and numbers in a request's arrays; messages name the element. Pure."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fedbus.errors import WireError
from fedbus.limits import MAX_DIMENSIONS
from fedbus.model.layout import Array
from fedbus.number_text import format_against

_MAX_NORMALIZED = 1 + 1e-6
"""The tolerance of agents for normalized rows; see `fedbus.data.format.check_batch`."""

_GREATEST = {np.dtype(name).char: float(np.finfo(name).max) for name in ("f2", "f4", "f8")}
"""The greatest number of each floating-point dtype."""

_RANGE_TOLERANCE = 1e-6
"""Part of a declared range by which rounding may lead out of it."""


def element_path(index: int, shape: Sequence[int], where: str = "inputs") -> str:
    """Format the path of an element from its flat index: `inputs[0][3]`."""
    return where + "".join(f"[{int(i)}]" for i in np.unravel_index(index, tuple(shape)))


def check_shape(where: str, stated: object) -> tuple[int, ...]:
    """Return a stated shape; raise WireError if it is not a short list of lengths above 0."""
    if (
        not isinstance(stated, list | tuple)
        or len(stated) > MAX_DIMENSIONS
        or not all(type(length) is int and length > 0 for length in stated)
    ):
        raise WireError(
            f"{where}: expected a list of at most {MAX_DIMENSIONS} whole numbers above 0, "
            f"got {shown(stated)}"
        )
    return tuple(stated)


def raw_array(where: str, data: bytes | memoryview, dtype: str, shape: Sequence[int]) -> Array:
    """Return an array of little-endian bytes in row order; raise WireError if they do not fit."""
    kind = np.dtype(dtype).newbyteorder("<")
    expected = math.prod(shape) * kind.itemsize
    if len(data) != expected:
        raise WireError(
            f"{where}: expected {expected} bytes for {dtype} of shape {list(shape)}, "
            f"got {len(data)}"
        )
    if dtype == "bool" and not set(bytes(data)) <= {0, 1}:
        raise WireError(f"{where}: expected a byte 0 or 1 for each Boolean")
    return np.frombuffer(data, kind).reshape(tuple(shape))


def shown(value: object) -> str:
    """Format a value of an untrusted source: short."""
    return repr(value)[:60]


def check_count(shape: Sequence[int], limit: int, where: str = "inputs") -> None:
    """Reject a shape of more than `limit` elements."""
    if (count := math.prod(shape)) > limit:
        raise WireError(
            f"{where}: expected at most {limit} numbers, got {count}; send fewer examples"
        )


def bounds_of(array: Array) -> tuple[float, float]:
    """Return the least and the greatest element of an array that is not empty; NaN if one is."""
    # Two reductions take less time than one comparison of each element with a bound.
    return array.min().item(), array.max().item()


def cast_floats(array: Array, target: np.dtype[Any], where: str = "inputs") -> Array:
    """Return an array in a floating-point dtype, if all its elements are finite there.

    It is not copied if it has that dtype.
    """
    low, high = bounds_of(array)
    most = _GREATEST[target.char]
    if -most <= low and high <= most:  # neither is NaN
        return array.astype(target, copy=False)
    with np.errstate(over="ignore"):  # a number just above the bound may be rounded down to it
        made = array.astype(target, copy=False)
    finite = np.isfinite(made)
    if not finite.all():
        path = element_path(int(finite.argmin()), array.shape, where)
        raise WireError(f"{path} is not a finite number that fits in {target.name}")
    return made


def check_range(low: int, high: int, dtype: str, where: str = "inputs") -> None:
    """Reject whole numbers from `low` to `high` if the dtype cannot hold them."""
    least, most = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if low < least or high > most:
        raise WireError(
            f"{where}: expected numbers from {least} to {most} ({dtype}), got {low} to {high}"
        )


def check_normalized(array: Array, where: str = "inputs") -> None:
    """Reject elements outside -1 to 1."""
    low, high = bounds_of(array)
    if low < -_MAX_NORMALIZED or high > _MAX_NORMALIZED:
        outside = (array > _MAX_NORMALIZED) | (array < -_MAX_NORMALIZED)
        index = int(outside.argmax())
        value = float(array.flat[index])
        path = element_path(index, array.shape, where)
        number = format_against(value, 1 if value > 0 else -1)
        raise WireError(
            f"{path} is {number}; "
            "this model takes numbers from -1 to 1, as in training: scale the inputs as the "
            "agents' data are scaled (for example, divide the bytes of an image by 255)"
        )


def outside_range(array: Array, low: float, high: float, where: str = "inputs") -> str:
    """Name the first element outside a range, and count the others; empty if there is none."""
    slack = _RANGE_TOLERANCE * (high - low)
    least, greatest = bounds_of(array)
    if low - slack <= least and greatest <= high + slack:
        return ""
    outside = (array < low - slack) | (array > high + slack)
    index = int(outside.argmax())
    value = float(array.flat[index])
    number = format_against(value, high if value > high else low)
    more = int(outside.sum()) - 1
    others = f", and {more} more such {'number' if more == 1 else 'numbers'}" if more else ""
    return f"{element_path(index, array.shape, where)} is {number}{others}"
