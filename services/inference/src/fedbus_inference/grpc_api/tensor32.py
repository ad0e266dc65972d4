"""Arrays of ASSIST-IoT's streaming predict: float32 numbers in row order, with a shape. Pure."""

import math

import numpy as np

from fedbus.errors import WireError
from fedbus.model.layout import Array
from fedbus_inference.grpc_api.protocol.basic_inference_pb2 import Tensor32
from fedbus_inference.open_inference.tensors import read_shape


def read_tensor32(tensor: Tensor32, max_elements: int) -> Array:
    """Read an array; without a shape it is one row.

    Raises:
        WireError: It is empty, too large, or its numbers do not fit its shape.
    """
    count = len(tensor.array)
    shape = read_shape("tensor", list(tensor.shape) or [count], max_elements)
    if count != math.prod(shape):
        raise WireError(
            f"tensor.array: expected {math.prod(shape)} numbers, as the shape {list(shape)} "
            f"states, got {count}"
        )
    return np.array(tensor.array, np.float32).reshape(shape)


def write_tensor32(array: Array) -> Tensor32:
    """Write an array as float32, which is all that the message holds."""
    with np.errstate(over="ignore"):  # a larger number becomes infinite, as in any cast to float32
        numbers = np.ravel(array).astype(np.float32)
    return Tensor32(array=numbers.tolist(), shape=array.shape)
