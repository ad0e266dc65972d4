"""Tensors of the Open Inference Protocol, read into arrays. Pure.

Shape, count and size are checked before an array is made.
"""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

import numpy as np

from fedbus.errors import WireError
from fedbus.limits import MAX_DIMENSIONS, MAX_TENSOR_NAME_CHARACTERS
from fedbus.model.layout import Array
from fedbus_inference.array_checks import check_shape, shown

_NUMBERS: Final = frozenset({int, float})
_TRUTHS: Final = frozenset({bool})


def read_shape(where: str, stated: object, max_elements: int) -> tuple[int, ...]:
    """Read a shape with at most `max_elements` elements; raise WireError for others."""
    shape = check_shape(f"{where}.shape", stated)
    if (count := math.prod(shape)) > max_elements:
        raise WireError(
            f"{where}.shape: expected at most {max_elements} elements, got {count}; "
            "send fewer examples"
        )
    return shape


def read_name(where: str, stated: object) -> str:
    """Read the name of a tensor; raise WireError for anything else."""
    if not isinstance(stated, str) or not 0 < len(stated) <= MAX_TENSOR_NAME_CHARACTERS:
        raise WireError(
            f"{where}.name: expected 1 to {MAX_TENSOR_NAME_CHARACTERS} characters, "
            f"got {shown(stated)}"
        )
    return stated


def array_of_elements(where: str, data: object, dtype: str, shape: Sequence[int]) -> Array:
    """Return an array of JSON numbers or truth values, in one list or in nested ones.

    Raises:
        WireError: Their number or kind is another one, or the dtype cannot hold one of them.
    """
    if not isinstance(data, list):
        raise WireError(f"{where}: expected a list of elements, got {shown(data)}")
    elements = _flat(where, data, math.prod(shape))
    taken = _TRUTHS if dtype == "bool" else _NUMBERS
    if not taken.issuperset(map(type, elements)):
        at = next(i for i, each in enumerate(elements) if type(each) not in taken)
        kind = "true or false" if dtype == "bool" else "a number"
        raise WireError(f"{where}, element {at}: expected {kind}, got {shown(elements[at])}")
    return array_of_numbers(where, elements, dtype).reshape(tuple(shape))


def array_of_numbers(where: str, elements: Sequence[Any], dtype: str) -> Array:
    """Return a flat array of Python's numbers; raise WireError if the dtype cannot hold them.

    Whole numbers have at most the digits that JSON's reader allows, so each is a finite float64.
    """
    kind = np.dtype(dtype).kind
    if kind in "ui" and any(type(each) is float and not each.is_integer() for each in elements):
        at = next(i for i, e in enumerate(elements) if type(e) is float and not e.is_integer())
        raise WireError(f"{where}, element {at}: expected a whole number, got {elements[at]}")
    if kind in "ui":
        limits = np.iinfo(dtype)
        if elements and not limits.min <= min(elements) <= max(elements) <= limits.max:
            raise WireError(
                f"{where}: expected numbers from {limits.min} to {limits.max} ({dtype}), "
                f"got {min(elements)} to {max(elements)}"
            )
        return np.array([int(each) for each in elements], dtype)
    with np.errstate(over="ignore"):  # an infinite element is refused with its place
        array = np.array(elements, dtype)
    if not (finite := np.isfinite(array)).all():
        at = int(finite.argmin())
        raise WireError(f"{where}, element {at}: not a finite number that fits in {dtype}")
    return array


def _flat(where: str, data: list[Any], count: int) -> list[Any]:
    level = data
    for _ in range(MAX_DIMENSIONS - 1):
        if not level or type(level[0]) is not list:
            break
        if any(type(row) is not list for row in level):
            raise WireError(f"{where}: expected numbers or lists, got both in one list")
        if sum(map(len, level)) > count:
            break
        level = list(chain.from_iterable(level))
    nested = bool(level) and type(level[0]) is list
    if nested or len(level) != count:
        got = "more" if nested else str(len(level))
        raise WireError(f"{where}: expected {count} elements, as the shape states, got {got}")
    return level
