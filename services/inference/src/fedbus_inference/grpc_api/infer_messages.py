"""Messages of the Open Inference Protocol over gRPC, read into requests and written from answers.

Pure. Imported only if FEDBUS_GRPC is set.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from fedbus.errors import WireError
from fedbus.limits import MAX_WORD_CHARACTERS
from fedbus.model.layout import Array
from fedbus_inference.array_checks import raw_array, shown
from fedbus_inference.grpc_api.protocol.open_inference_pb2 import (
    InferParameter,
    InferTensorContents,
    ModelInferRequest,
    ModelInferResponse,
)
from fedbus_inference.nested_numbers import array_of_numbers
from fedbus_inference.open_inference.datatypes import (
    datatype_of,
    dtype_of,
    little_endian,
)
from fedbus_inference.open_inference.infer_answers import wanted_outputs
from fedbus_inference.open_inference.infer_requests import (
    MAX_NAMED_TENSORS,
    InferRequest,
    read_timeout,
)
from fedbus_inference.open_inference.tensors import read_name, read_shape
from fedbus_inference.payload_version import refuse_version

_CONTENTS: Final = {
    "bool": "bool_contents",
    "int8": "int_contents",
    "int16": "int_contents",
    "int32": "int_contents",
    "int64": "int64_contents",
    "uint8": "uint_contents",
    "uint16": "uint_contents",
    "uint32": "uint_contents",
    "uint64": "uint64_contents",
    "float32": "fp32_contents",
    "float64": "fp64_contents",
}
"""The field of each dtype in InferTensorContents; float16 has none, it is sent raw."""


def read_infer_message(message: ModelInferRequest, max_elements: int) -> InferRequest:
    """Read a request; outputs are wanted as bytes if the inputs are.

    Raises:
        WireError: Its data do not fit the stated shapes, a tensor is none of numbers, or its
            parameter `timeout` is no number of microseconds.
    """
    raw = message.raw_input_contents
    count = len(message.inputs)
    if not 0 < count <= MAX_NAMED_TENSORS or len(message.outputs) > MAX_NAMED_TENSORS:
        raise WireError(
            f"expected 1 to {MAX_NAMED_TENSORS} inputs and at most as many outputs, "
            f"got {count} and {len(message.outputs)}"
        )
    if raw and len(raw) != count:
        raise WireError(
            f"raw_input_contents: expected one entry for each of {count} inputs, got {len(raw)}"
        )
    if len(message.id) > MAX_WORD_CHARACTERS:
        raise WireError(
            f"id: expected at most {MAX_WORD_CHARACTERS} characters, got {len(message.id)}"
        )
    inputs: dict[str, Array] = {}
    for number, tensor in enumerate(message.inputs):
        where = f"inputs[{number}]"
        name = read_name(where, tensor.name)
        if name in inputs:
            raise WireError(f"{where}.name: {shown(name)} is given more than once")
        left = max_elements - sum(array.size for array in inputs.values())
        inputs[name] = _array(where, tensor, raw[number] if raw else None, left)
    outputs = {
        read_name(f"outputs[{number}]", wanted.name): bool(raw)
        for number, wanted in enumerate(message.outputs)
    }
    parameters = {name: _plain(each) for name, each in message.parameters.items()}
    refuse_version(parameters)
    return InferRequest(inputs, outputs, bool(raw), message.id, read_timeout(parameters))


def write_infer_message(
    request: InferRequest,
    model: str,
    version: int,
    outputs: Mapping[str, Array],
    parameters: Mapping[str, str] | None = None,
) -> ModelInferResponse:
    """Write an answer; float16 has no typed contents, so one such output makes all raw.

    Raise WireError if the model has no output of a wanted name.
    """
    wanted = wanted_outputs(request.outputs, outputs)
    raw = request.binary or any(array.dtype.name not in _CONTENTS for array in wanted.values())
    answer = ModelInferResponse(model_name=model, model_version=str(version), id=request.id)
    for name, text in (parameters or {}).items():
        answer.parameters[name].string_param = text
    for name, array in wanted.items():
        tensor = answer.outputs.add(
            name=name, datatype=datatype_of(array.dtype.name), shape=array.shape
        )
        if raw:
            answer.raw_output_contents.append(little_endian(array))
        else:
            field = getattr(tensor.contents, _CONTENTS[array.dtype.name])
            field.extend(np.ravel(array).tolist())
    return answer


def _array(
    where: str,
    tensor: ModelInferRequest.InferInputTensor,
    raw: bytes | None,
    max_elements: int,
) -> Array:
    dtype = dtype_of(f"{where}.datatype", tensor.datatype)
    shape = read_shape(where, list(tensor.shape), max_elements)
    if raw is not None:
        if tensor.HasField("contents"):
            raise WireError(f"{where}: expected contents or raw_input_contents, got both")
        return raw_array(f"raw_input_contents, {where}", raw, dtype, shape)
    return _typed_array(f"{where}.contents", tensor.contents, dtype, shape)


def _typed_array(
    where: str, contents: InferTensorContents, dtype: str, shape: tuple[int, ...]
) -> Array:
    if dtype not in _CONTENTS:
        raise WireError(f"{where}: FP16 has no typed contents; send it as raw_input_contents")
    field = _CONTENTS[dtype]
    others = [each.name for each, _ in contents.ListFields() if each.name != field]
    if others:
        raise WireError(f"{where}: expected {field} for {datatype_of(dtype)}, got {others[0]}")
    found, count = getattr(contents, field), int(np.prod(shape, dtype=object))
    if len(found) != count:
        raise WireError(
            f"{where}.{field}: expected {count} elements, as the shape states, got {len(found)}"
        )
    return array_of_numbers(list(found), (count,), dtype, f"{where}.{field}").reshape(shape)


def _plain(parameter: InferParameter) -> Any:  # noqa: ANN401 - one of five kinds
    kind = parameter.WhichOneof("parameter_choice")
    return None if kind is None else getattr(parameter, kind)
