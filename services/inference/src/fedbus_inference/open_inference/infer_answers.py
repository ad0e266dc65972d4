"""Answers of the Open Inference Protocol over REST: JSON, and binary tensors behind it. Pure."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic_core import to_json

from fedbus.errors import WireError
from fedbus.model.layout import Array
from fedbus.text import listed
from fedbus_inference.open_inference.datatypes import datatype_of, little_endian
from fedbus_inference.open_inference.infer_requests import InferRequest


def wanted_outputs(wanted: Mapping[str, bool], outputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return the wanted outputs in the order of the request, all if none is named.

    Raises:
        WireError: The model has no output of a wanted name.
    """
    for name in wanted:
        if name not in outputs:
            raise WireError(f"outputs: no output {name!r}; the model has {listed(outputs)}")
    return {name: outputs[name] for name in wanted} if wanted else dict(outputs)


def write_infer_answer(
    request: InferRequest,
    model: str,
    version: int,
    outputs: Mapping[str, Array],
    parameters: Mapping[str, Any] | None = None,
) -> tuple[bytes, int | None]:
    """Return the body of an answer, and the length of its JSON if binary tensors follow it.

    NaN and infinity become null in JSON, which has neither. Raise WireError as `wanted_outputs`.
    """
    tensors: list[dict[str, Any]] = []
    parts: list[bytes] = []
    for name, array in wanted_outputs(request.outputs, outputs).items():
        tensor: dict[str, Any] = {
            "name": name,
            "datatype": datatype_of(array.dtype.name),
            "shape": list(array.shape),
        }
        if request.outputs.get(name, request.binary):
            data = little_endian(array)
            parts.append(data)
            tensor["parameters"] = {"binary_data_size": len(data)}
        else:
            tensor["data"] = np.ravel(array).tolist()
        tensors.append(tensor)
    answer: dict[str, Any] = {"model_name": model, "model_version": str(version)}
    if request.id:
        answer["id"] = request.id
    if parameters:
        answer["parameters"] = dict(parameters)
    head = to_json(answer | {"outputs": tensors}, inf_nan_mode="null")
    return (b"".join((head, *parts)), len(head)) if parts else (head, None)
