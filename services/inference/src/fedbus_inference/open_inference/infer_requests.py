"""Requests of the Open Inference Protocol over REST: JSON, and binary tensors behind it. Pure.

With the binary tensor extension the header `Inference-Header-Content-Length` states the length of
the JSON; behind it are the bytes of each input that has `binary_data_size`, in their order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fedbus.errors import WireError
from fedbus.limits import MAX_WORD_CHARACTERS
from fedbus.model.layout import Array
from fedbus.wire.json_reader import read_json
from fedbus_inference.array_checks import raw_array, shown
from fedbus_inference.open_inference.datatypes import dtype_of
from fedbus_inference.open_inference.tensors import (
    array_of_elements,
    read_name,
    read_shape,
)
from fedbus_inference.payload_version import refuse_version

MAX_NAMED_TENSORS: Final = 64
"""Inputs, or wanted outputs, of one request."""
_MICROSECONDS: Final = 1_000_000
"""In a second."""


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request, its arrays not yet compared with the model's inputs.

    Attributes:
        inputs: Arrays by their names, in the order of the request.
        outputs: Names of the wanted outputs, and whether each is wanted as bytes; empty: all.
        binary: Whether outputs are wanted as bytes where `outputs` does not say so.
        id: Repeated in the answer.
        timeout: Seconds of the parameter `timeout`; None: it is not stated.
    """

    inputs: Mapping[str, Array]
    outputs: Mapping[str, bool] = field(default_factory=dict)
    binary: bool = False
    id: str = ""
    timeout: float | None = None


def read_infer_request(body: bytes, json_bytes: int | None, max_elements: int) -> InferRequest:
    """Read the body of a request; without `json_bytes` it is JSON alone.

    Raises:
        WireError: It is not a request, or its data do not fit the stated shapes.
    """
    length = len(body) if json_bytes is None else json_bytes
    if not 0 <= length <= len(body):
        raise WireError(
            f"Inference-Header-Content-Length: expected 0 to {len(body)}, the length of the body, "
            f"got {length}"
        )
    stated = read_json(body[:length], max_bytes=len(body))
    if not isinstance(stated, dict):
        raise WireError(f'expected an object with "inputs", got {shown(stated)}')
    refuse_version(stated)
    parameters = _map("parameters", stated.get("parameters"))
    refuse_version(parameters)
    binary = _truth("parameters.binary_data_output", parameters.get("binary_data_output", False))
    return InferRequest(
        _inputs(_objects("inputs", stated.get("inputs")), memoryview(body)[length:], max_elements),
        _wanted(_objects("outputs", stated.get("outputs", [])), binary=binary),
        binary,
        _id(stated.get("id", "")),
        read_timeout(parameters),
    )


def read_timeout(parameters: Mapping[str, Any]) -> float | None:
    """Return the seconds of Triton's parameter `timeout`, which is in microseconds; 0: none.

    Raises:
        WireError: It is no whole number from 0.
    """
    stated = parameters.get("timeout", 0)
    if type(stated) is not int or stated < 0:
        raise WireError(
            f"parameters.timeout: expected microseconds, a whole number, got {shown(stated)}"
        )
    return stated / _MICROSECONDS if stated else None


def _inputs(
    stated: list[dict[str, Any]], binary: memoryview, max_elements: int
) -> dict[str, Array]:
    if not stated:
        raise WireError("inputs: expected at least one tensor, got none")
    found: dict[str, Array] = {}
    offset = 0
    for number, tensor in enumerate(stated):
        where = f"inputs[{number}]"
        name = read_name(where, tensor.get("name"))
        if name in found:
            raise WireError(f"{where}.name: {shown(name)} is given more than once")
        dtype = dtype_of(f"{where}.datatype", tensor.get("datatype"))
        left = max_elements - sum(array.size for array in found.values())
        shape = read_shape(where, tensor.get("shape"), left)
        size = _map(f"{where}.parameters", tensor.get("parameters")).get("binary_data_size")
        if size is None:
            data = tensor.get("data")
            found[name] = array_of_elements(f"{where}.data", data, dtype, shape, left)
            continue
        if "data" in tensor:
            raise WireError(f"{where}: expected data or binary_data_size, got both")
        if type(size) is not int or not 0 <= size <= len(binary) - offset:
            raise WireError(
                f"{where}.parameters.binary_data_size: expected 0 to {len(binary) - offset}, the "
                f"bytes that follow the JSON, got {shown(size)}; the header "
                "Inference-Header-Content-Length states the length of the JSON"
            )
        part = binary[offset : offset + size]
        found[name] = raw_array(f"{where}, its binary data", part, dtype, shape)
        offset += size
    if offset != len(binary):
        raise WireError(
            f"the body: expected {offset} bytes behind the JSON, as the inputs state, "
            f"got {len(binary)}"
        )
    return found


def _wanted(stated: list[dict[str, Any]], *, binary: bool) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for number, tensor in enumerate(stated):
        where = f"outputs[{number}]"
        name = read_name(where, tensor.get("name"))
        parameters = _map(f"{where}.parameters", tensor.get("parameters"))
        if "classification" in parameters:
            raise WireError(f"{where}.parameters.classification: this extension is not supported")
        said = parameters.get("binary_data", binary)
        found[name] = _truth(f"{where}.parameters.binary_data", said)
    return found


def _objects(where: str, stated: object) -> list[dict[str, Any]]:
    if not isinstance(stated, list) or not all(isinstance(each, dict) for each in stated):
        raise WireError(f"{where}: expected a list of objects, got {shown(stated)}")
    if len(stated) > MAX_NAMED_TENSORS:
        raise WireError(f"{where}: expected at most {MAX_NAMED_TENSORS} tensors, got {len(stated)}")
    return stated


def _map(where: str, stated: object) -> dict[str, Any]:
    if stated is None:
        return {}
    if not isinstance(stated, dict):
        raise WireError(f"{where}: expected an object, got {shown(stated)}")
    return stated


def _truth(where: str, stated: object) -> bool:
    if not isinstance(stated, bool):
        raise WireError(f"{where}: expected true or false, got {shown(stated)}")
    return stated


def _id(stated: object) -> str:
    if not isinstance(stated, str) or len(stated) > MAX_WORD_CHARACTERS:
        raise WireError(
            f"id: expected at most {MAX_WORD_CHARACTERS} characters, got {shown(stated)}"
        )
    return stated
