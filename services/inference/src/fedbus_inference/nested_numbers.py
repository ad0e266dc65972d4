"""Nested lists of numbers: their shape, their numbers in row order, and an array of them. Pure.

Depth, shape and the kind of each number are checked before an array is created. Every protocol's
JSON, msgpack and typed numbers are read here.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

import numpy as np

from fedbus.errors import WireError
from fedbus.limits import MAX_DIMENSIONS
from fedbus.model.layout import Array
from fedbus_inference.array_checks import cast_floats, check_count, check_range, element_path

NUMBERS: Final = frozenset({int, float})
TRUTHS: Final = frozenset({bool})
_TYPE_NAMES: Final[dict[type, str]] = {
    str: "a string",
    bool: "a Boolean",
    type(None): "null",
    dict: "a map",
    list: "a list",
    bytes: "raw bytes",
    int: "a number",
    float: "a number",
}


def type_name(value: object) -> str:
    """Return what a value of a request is called in messages."""
    return _TYPE_NAMES.get(type(value), "another type")


def flat_numbers(
    value: list[Any], max_elements: int, accepted: frozenset[type], where: str
) -> tuple[tuple[int, ...], list[Any]]:
    """Return the shape of nested lists and their numbers in row order, of the `accepted` types.

    Raises:
        WireError: They are ragged, empty, too deep or of more than `max_elements` numbers, or an
            element has another type; it names the element, after `where`.
    """
    shape, level = [len(value)], value
    while level and type(level[0]) is list:
        if len(shape) == MAX_DIMENSIONS:
            raise WireError(f"{where}: expected at most {MAX_DIMENSIONS} levels of lists, got more")
        _check_level(level, shape, where)
        shape.append(len(level[0]))
        check_count(shape, max_elements, where)
        level = list(chain.from_iterable(level))
    check_count(shape, max_elements, where)
    if not level:
        raise WireError(f"{where} of shape {shape} contain no number; send at least one example")
    if not accepted.issuperset(map(type, level)):
        at = next(i for i, leaf in enumerate(level) if type(leaf) not in accepted)
        expected = "a number" if accepted >= NUMBERS else "true or false"
        raise WireError(
            f"{element_path(at, shape, where)}: expected {expected}, got {type_name(level[at])}"
        )
    return tuple(shape), level


def _check_level(level: list[Any], shape: list[int], where: str) -> None:
    if any(type(row) is not list for row in level):
        at = next(i for i, row in enumerate(level) if type(row) is not list)
        raise WireError(
            f"{element_path(at, shape, where)}: expected a list, got {type_name(level[at])}"
        )
    width = len(level[0])
    if any(len(row) != width for row in level):
        at = next(i for i, row in enumerate(level) if len(row) != width)
        raise WireError(
            f"{element_path(at, shape, where)}: expected {width} elements, as "
            f"{element_path(0, shape, where)} has, got {len(level[at])}"
        )


def array_of_numbers(
    numbers: Sequence[Any], shape: tuple[int, ...], dtype: str, where: str
) -> Array:
    """Return an array of Python's numbers or truth values in row order, as many as it has elements.

    Raises:
        WireError: The dtype cannot hold one of them: a fraction, too large, infinite or NaN.
    """
    target = np.dtype(dtype)
    if target.kind == "f":
        try:
            array = np.array(numbers, np.float64).reshape(shape)
        except OverflowError as error:
            raise WireError(f"{where} contain a whole number too large for {dtype}") from error
        return cast_floats(array, target, where)
    whole = [_whole(number, at, shape, dtype, where) for at, number in enumerate(numbers)]
    check_range(min(whole), max(whole), dtype, where)
    return np.array(whole, dtype).reshape(shape)


def _whole(number: Any, at: int, shape: tuple[int, ...], dtype: str, where: str) -> int:  # noqa: ANN401 - a number
    if type(number) is float and not number.is_integer():  # nor are infinity and NaN
        raise WireError(
            f"{element_path(at, shape, where)}: expected a whole number ({dtype}), got {number}"
        )
    return int(number)
