"""Arrays in requests and answers: nested lists of numbers, or raw bytes. Pure.

Raw is `{"dtype", "shape", "data"}`, with little-endian bytes in row order. Depth, shape, dtype and
size are checked before an array is created.
"""

import math
from itertools import chain
from typing import Any, Final

import numpy as np

from fedbus.errors import WireError
from fedbus.limits import MAX_DIMENSIONS
from fedbus.model.layout import DTYPES, Array
from fedbus.text import listed
from fedbus_inference.array_checks import (
    check_count,
    check_finite,
    check_normalized,
    check_range,
    element_path,
)
from fedbus_inference.input_spec import InputSpec

_NUMBERS: Final = frozenset({int, float})
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


def parse_inputs(value: object, input_spec: InputSpec, max_elements: int) -> Array:
    """Parse a request's `inputs`, one example or a batch, into an array of (examples, …).

    The array has the dtype of `input_spec` and at most `max_elements` elements. A WireError names
    the element, what was expected and what was found.
    """
    match value:
        case list():
            accepted = _NUMBERS | {bool} if input_spec.dtype == "bool" else _NUMBERS
            shape, numbers = _flatten(value, max_elements, accepted)
            batch = input_spec.batch_shape(shape)
            array = _array_of(numbers, shape, input_spec.dtype)
        case {"dtype": dtype, "shape": stated, "data": bytes(data)}:
            raw = _raw_array(dtype, stated, data, max_elements)
            batch = input_spec.batch_shape(raw.shape)
            array = _cast(raw, input_spec.dtype)
        case _:
            raise WireError(
                "inputs: expected nested lists of numbers, or in msgpack a map of "
                f'"dtype", "shape" and little-endian "data"; got {_type_name(value)}'
            )
    if input_spec.normalized:
        check_normalized(array)
    return array.reshape(batch)


def check_array(array: Array, input_spec: InputSpec, max_elements: int) -> Array:
    """Return an array of a request in the model's dtype and as (examples, …), or raise WireError.

    The array is not copied if it fits.
    """
    _check_dtype("inputs.dtype", array.dtype.name)
    check_count(array.shape, max_elements)
    batch = input_spec.batch_shape(array.shape)
    if not array.size:
        raise WireError(
            f"inputs of shape {array.shape} contain no number; send at least one example"
        )
    fitting = _cast(array, input_spec.dtype)
    if input_spec.normalized:
        check_normalized(fitting)
    return fitting.reshape(batch)


def to_raw(array: Array) -> dict[str, Any]:
    """Return an array as dtype, shape and little-endian bytes."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": little.tobytes()}


def _flatten(
    value: list[Any], max_elements: int, accepted: frozenset[type]
) -> tuple[tuple[int, ...], list[Any]]:
    """Return the shape of nested lists and their numbers in row order."""
    shape, level = [len(value)], value
    while level and type(level[0]) is list:
        if len(shape) == MAX_DIMENSIONS:
            raise WireError(f"inputs: expected at most {MAX_DIMENSIONS} levels of lists, got more")
        _check_level(level, shape)
        shape.append(len(level[0]))
        check_count(shape, max_elements)
        level = list(chain.from_iterable(level))
    check_count(shape, max_elements)
    if not level:
        raise WireError(f"inputs of shape {shape} contain no number; send at least one example")
    if not accepted.issuperset(map(type, level)):
        at = next(i for i, leaf in enumerate(level) if type(leaf) not in accepted)
        raise WireError(
            f"{element_path(at, shape)}: expected a number, got {_type_name(level[at])}"
        )
    return tuple(shape), level


def _check_level(level: list[Any], shape: list[int]) -> None:
    if any(type(row) is not list for row in level):
        at = next(i for i, row in enumerate(level) if type(row) is not list)
        raise WireError(f"{element_path(at, shape)}: expected a list, got {_type_name(level[at])}")
    width = len(level[0])
    if any(len(row) != width for row in level):
        at = next(i for i, row in enumerate(level) if len(row) != width)
        raise WireError(
            f"{element_path(at, shape)}: expected {width} elements, as "
            f"{element_path(0, shape)} has, got {len(level[at])}"
        )


def _array_of(numbers: list[Any], shape: tuple[int, ...], dtype: str) -> Array:
    if np.dtype(dtype).kind == "f":
        try:
            with np.errstate(over="ignore"):  # check_finite names the element
                array = np.array(numbers, dtype)
        except OverflowError as error:
            raise WireError(f"inputs contain a whole number too large for {dtype}") from error
        return check_finite(array.reshape(shape))
    whole = [_whole(number, at, shape, dtype) for at, number in enumerate(numbers)]
    check_range(min(whole), max(whole), dtype)
    return np.array(whole, dtype).reshape(shape)


def _whole(number: Any, at: int, shape: tuple[int, ...], dtype: str) -> int:  # noqa: ANN401 - a number
    if type(number) is float and not number.is_integer():  # nor are infinity and NaN
        raise WireError(
            f"{element_path(at, shape)}: expected a whole number ({dtype}), got {number}"
        )
    return int(number)


def _raw_array(dtype: object, stated: object, data: bytes, max_elements: int) -> Array:
    kind = np.dtype(_check_dtype("inputs.dtype", dtype)).newbyteorder("<")
    shape = _check_shape("inputs.shape", stated)
    check_count(shape, max_elements)
    expected = math.prod(shape) * kind.itemsize
    if len(data) != expected:
        raise WireError(
            f"inputs.data: expected {expected} bytes for {kind.name} of shape {list(shape)}, "
            f"got {len(data)}"
        )
    return np.frombuffer(data, kind).reshape(shape)


def _cast(array: Array, dtype: str) -> Array:
    target = np.dtype(dtype)
    if target.kind == "f":
        with np.errstate(over="ignore"):  # check_finite names the element
            return check_finite(array.astype(target, copy=False))
    if array.dtype.kind == "f":
        broken = ~np.isfinite(array) | (array != np.trunc(array))
        if broken.any():
            at = int(broken.argmax())
            path = element_path(at, array.shape)
            raise WireError(f"{path}: expected a whole number ({dtype}), got {array.flat[at]}")
    check_range(int(array.min()), int(array.max()), dtype)
    return array.astype(target, copy=False)


def _check_dtype(where: str, stated: object) -> str:
    if not isinstance(stated, str) or stated not in DTYPES:
        raise WireError(f"{where}: expected one of {listed(DTYPES)}, got {_shown(stated)}")
    return stated


def _check_shape(where: str, stated: object) -> tuple[int, ...]:
    if (
        not isinstance(stated, list | tuple)
        or len(stated) > MAX_DIMENSIONS
        or not all(type(length) is int and length > 0 for length in stated)
    ):
        raise WireError(
            f"{where}: expected a list of at most {MAX_DIMENSIONS} whole numbers above 0, "
            f"got {_shown(stated)}"
        )
    return tuple(stated)


def _type_name(value: object) -> str:
    return _TYPE_NAMES.get(type(value), "another type")


def _shown(value: object) -> str:
    return repr(value)[:60]
