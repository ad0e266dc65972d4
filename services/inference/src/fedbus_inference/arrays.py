"""Arrays in requests and answers: nested lists of numbers, or raw bytes. Pure.

Raw is `{"dtype", "shape", "data"}`, with little-endian bytes in row order. Depth, shape, dtype and
size are checked before an array is created.
"""

from itertools import chain
from typing import Any, Final

import numpy as np

from fedbus.errors import WireError
from fedbus.limits import MAX_DIMENSIONS
from fedbus.model.layout import DTYPES, Array, dtype_name
from fedbus.text import listed
from fedbus_inference.array_checks import (
    cast_floats,
    check_count,
    check_normalized,
    check_range,
    check_shape,
    element_path,
    outside_range,
    raw_array,
    shown,
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


def parse_array(
    value: object, input_spec: InputSpec, max_elements: int, where: str = "inputs"
) -> Array:
    """Parse one input of a request, one example or a batch, into an array of (examples, …).

    The array has the dtype of `input_spec` and at most `max_elements` elements. A WireError names
    the element, after `where`, what was expected and what was found.
    """
    match value:
        case list():
            accepted = _NUMBERS | {bool} if input_spec.dtype == "bool" else _NUMBERS
            shape, numbers = _flatten(value, max_elements, accepted, where)
            batch = input_spec.batch_shape(shape, where)
            array = _array_of(numbers, shape, input_spec.dtype, where)
        case {"dtype": dtype, "shape": stated, "data": bytes(data)}:
            raw = _raw_array(dtype, stated, data, max_elements, where)
            return check_array(raw, input_spec, max_elements, where)
        case _:
            raise WireError(
                f"{where}: expected nested lists of numbers, or in msgpack a map of "
                f'"dtype", "shape" and little-endian "data"; got {_type_name(value)}'
            )
    return _in_range(array, input_spec, where).reshape(batch)


def check_array(
    array: Array, input_spec: InputSpec, max_elements: int, where: str = "inputs"
) -> Array:
    """Return an array of a request in the model's dtype and as (examples, …), or raise WireError.

    The array is not copied if it fits.
    """
    _check_dtype(f"{where}.dtype", dtype_name(array.dtype))
    check_count(array.shape, max_elements, where)
    batch = input_spec.batch_shape(array.shape, where)
    if not array.size:
        raise WireError(
            f"{where} of shape {array.shape} contain no number; send at least one example"
        )
    return _in_range(_cast(array, input_spec.dtype, where), input_spec, where).reshape(batch)


def _in_range(array: Array, input_spec: InputSpec, where: str) -> Array:
    if input_spec.normalized:
        check_normalized(array, where)
    if input_spec.range is not None and not input_spec.warns:
        low, high = input_spec.range
        if outside := outside_range(array, low, high, where):
            raise WireError(
                f"{outside}; this model takes numbers from {low:g} to {high:g}, as in training"
            )
    return array


def to_raw(array: Array) -> dict[str, Any]:
    """Return an array as dtype, shape and little-endian bytes."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return {"dtype": dtype_name(array.dtype), "shape": list(array.shape), "data": little.tobytes()}


def _flatten(
    value: list[Any], max_elements: int, accepted: frozenset[type], where: str
) -> tuple[tuple[int, ...], list[Any]]:
    """Return the shape of nested lists and their numbers in row order."""
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
        raise WireError(
            f"{element_path(at, shape, where)}: expected a number, got {_type_name(level[at])}"
        )
    return tuple(shape), level


def _check_level(level: list[Any], shape: list[int], where: str) -> None:
    if any(type(row) is not list for row in level):
        at = next(i for i, row in enumerate(level) if type(row) is not list)
        raise WireError(
            f"{element_path(at, shape, where)}: expected a list, got {_type_name(level[at])}"
        )
    width = len(level[0])
    if any(len(row) != width for row in level):
        at = next(i for i, row in enumerate(level) if len(row) != width)
        raise WireError(
            f"{element_path(at, shape, where)}: expected {width} elements, as "
            f"{element_path(0, shape, where)} has, got {len(level[at])}"
        )


def _array_of(numbers: list[Any], shape: tuple[int, ...], dtype: str, where: str) -> Array:
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


def _raw_array(dtype: object, stated: object, data: bytes, max_elements: int, where: str) -> Array:
    kind = _check_dtype(f"{where}.dtype", dtype)
    shape = check_shape(f"{where}.shape", stated)
    check_count(shape, max_elements, where)
    return raw_array(f"{where}.data", data, kind, shape)


def _cast(array: Array, dtype: str, where: str) -> Array:
    target = np.dtype(dtype)
    if target.kind == "f":
        return cast_floats(array, target, where)
    if array.dtype.kind == "f":
        broken = ~np.isfinite(array) | (array != np.trunc(array))
        if broken.any():
            at = int(broken.argmax())
            path = element_path(at, array.shape, where)
            raise WireError(f"{path}: expected a whole number ({dtype}), got {array.flat[at]}")
    check_range(int(array.min()), int(array.max()), dtype, where)
    return array.astype(target, copy=False)


def _check_dtype(where: str, stated: object) -> str:
    if not isinstance(stated, str) or stated not in DTYPES:
        raise WireError(f"{where}: expected one of {listed(DTYPES)}, got {shown(stated)}")
    return stated


def _type_name(value: object) -> str:
    return _TYPE_NAMES.get(type(value), "another type")
