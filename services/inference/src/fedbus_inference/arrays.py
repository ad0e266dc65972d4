"""Arrays in requests and answers: nested lists of numbers, or raw bytes. Pure.

Raw is `{"dtype", "shape", "data"}`, with little-endian bytes in row order. Depth, shape, dtype and
size are checked before an array is created.
"""

from typing import Any

import numpy as np

from fedbus.errors import WireError
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
from fedbus_inference.nested_numbers import (
    NUMBERS,
    TRUTHS,
    array_of_numbers,
    flat_numbers,
    type_name,
)


def parse_array(
    value: object, input_spec: InputSpec, max_elements: int, where: str = "inputs"
) -> Array:
    """Parse one input of a request, one example or a batch, into an array of (examples, …).

    The array has the dtype of `input_spec` and at most `max_elements` elements. A WireError names
    the element, after `where`, what was expected and what was found.
    """
    match value:
        case list():
            accepted = NUMBERS | TRUTHS if input_spec.dtype == "bool" else NUMBERS
            shape, numbers = flat_numbers(value, max_elements, accepted, where)
            batch = input_spec.batch_shape(shape, where)
            array = array_of_numbers(numbers, shape, input_spec.dtype, where)
        case {"dtype": dtype, "shape": stated, "data": bytes(data)}:
            raw = _raw_array(dtype, stated, data, max_elements, where)
            return check_array(raw, input_spec, max_elements, where)
        case _:
            raise WireError(
                f"{where}: expected nested lists of numbers, or in msgpack a map of "
                f'"dtype", "shape" and little-endian "data"; got {type_name(value)}'
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
