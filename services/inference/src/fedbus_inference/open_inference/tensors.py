"""Tensors of the Open Inference Protocol, read into arrays. Pure.

Shape, count and size are checked before an array is made.
"""

import math
from collections.abc import Sequence

from fedbus.errors import WireError
from fedbus.limits import MAX_TENSOR_NAME_CHARACTERS
from fedbus.model.layout import Array
from fedbus_inference.array_checks import check_shape, shown
from fedbus_inference.nested_numbers import NUMBERS, TRUTHS, array_of_numbers, flat_numbers


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


def array_of_elements(
    where: str, data: object, dtype: str, shape: Sequence[int], max_elements: int
) -> Array:
    """Return an array of JSON numbers or truth values, in one list or in nested ones.

    Raises:
        WireError: Their number or kind is another one, or the dtype cannot hold one of them.
    """
    if not isinstance(data, list):
        raise WireError(f"{where}: expected a list of elements, got {shown(data)}")
    accepted = TRUTHS if dtype == "bool" else NUMBERS
    nested, elements = flat_numbers(data, max_elements, accepted, where)
    if len(elements) != (count := math.prod(shape)):
        raise WireError(
            f"{where}: expected {count} elements, as the shape states, got {len(elements)}"
        )
    return array_of_numbers(elements, nested, dtype, where).reshape(tuple(shape))
