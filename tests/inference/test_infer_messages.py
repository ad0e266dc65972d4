"""Messages of the Open Inference Protocol over gRPC, and of ASSIST-IoT's streaming predict."""

from typing import Any

import numpy as np
import pytest

from fedbus.errors import WireError
from fedbus_inference.grpc_api.infer_messages import read_infer_message, write_infer_message
from fedbus_inference.grpc_api.protocol.basic_inference_pb2 import Tensor32
from fedbus_inference.grpc_api.protocol.open_inference_pb2 import ModelInferRequest
from fedbus_inference.grpc_api.tensor32 import read_tensor32, write_tensor32
from fedbus_inference.open_inference.datatypes import DTYPES_BY_DATATYPE
from fedbus_inference.open_inference.infer_requests import InferRequest

LIMIT = 1000


def tensor(**changed: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of a message
    """Describe a valid input, with some of its fields changed."""
    contents = {"fp32_contents": [1, 2.5, 3, 4]}
    return {"name": "x", "datatype": "FP32", "shape": [2, 2], "contents": contents} | changed


def raw(**changed: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of a message
    """Describe an input whose bytes are in raw_input_contents."""
    return {"name": "x", "datatype": "FP32", "shape": [2, 2]} | changed


def read(*inputs: Any, **more: Any) -> InferRequest:  # noqa: ANN401 - fields of a message
    """Read a message with these inputs."""
    return read_infer_message(ModelInferRequest(inputs=inputs, **more), LIMIT)


@pytest.mark.parametrize("datatype", DTYPES_BY_DATATYPE)
def test_each_datatype_is_read_and_written(datatype: str) -> None:
    """Raw in, raw out; typed in, typed out, but for FP16, which has no typed form."""
    array = np.array([[0, 1], [1, 1]], DTYPES_BY_DATATYPE[datatype])
    given = read(raw(datatype=datatype), raw_input_contents=[array.tobytes()])
    np.testing.assert_array_equal(given.inputs["x"], array)
    answer = write_infer_message(given, "digits", 4, {"y": array})
    assert answer.raw_output_contents == [array.tobytes()]
    assert (answer.outputs[0].datatype, answer.outputs[0].shape) == (datatype, [2, 2])
    typed = write_infer_message(InferRequest({}), "digits", 4, {"x": array})
    if datatype == "FP16":
        assert typed.raw_output_contents == [array.tobytes()]
        return
    assert not typed.raw_output_contents
    (written,) = typed.outputs
    again = read(tensor(datatype=datatype, contents=written.contents))
    assert again.inputs["x"].dtype == array.dtype
    np.testing.assert_array_equal(again.inputs["x"], array)


def test_wanted_outputs_id_and_parameters_are_read_and_written() -> None:
    """As over REST."""
    message = ModelInferRequest(inputs=[tensor()], outputs=[{"name": "b"}], id="7")
    message.parameters["priority"].int64_param = 3
    message.parameters["empty"].SetInParent()
    message.parameters["timeout"].uint64_param = 1500
    request = read_infer_message(message, LIMIT)
    assert (request.outputs, request.id) == ({"b": False}, "7")
    assert request.timeout == 0.0015
    outputs = {"a": np.zeros(1), "b": np.ones(1)}
    answer = write_infer_message(request, "digits", 4, outputs, {"warnings": "far"})
    assert (answer.model_name, answer.model_version, answer.id) == ("digits", "4", "7")
    assert [each.name for each in answer.outputs] == ["b"]
    assert answer.parameters["warnings"].string_param == "far"
    with pytest.raises(WireError, match="no output 'b'; the model has a"):
        write_infer_message(request, "digits", 4, {"a": np.zeros(1)})


@pytest.mark.parametrize(
    ("inputs", "more", "sentence"),
    [
        ([], {}, "expected 1 to 64 inputs"),
        ([tensor()], {"outputs": [{"name": "y"}] * 65}, "at most as many outputs, got 1 and 65"),
        ([tensor()] * 2, {}, "inputs[1].name: 'x' is given more than once"),
        ([tensor()], {"id": "i" * 257}, "id: expected at most 256 characters"),
        ([tensor()], {"outputs": [{}]}, "outputs[0].name"),
        ([tensor(name="")], {}, "inputs[0].name"),
        ([tensor(datatype="BYTES")], {}, "BYTES (strings)"),
        ([tensor(datatype="")], {}, "expected a datatype among"),
        ([tensor(shape=[])], {}, "expected 1 elements, as the shape states, got 4"),
        ([tensor(shape=[-2, -2])], {}, "whole numbers above 0"),
        ([tensor(shape=[2**62, 2**62])], {}, "at most 1000 elements"),
        ([tensor(shape=[3])], {}, "expected 3 elements, as the shape states, got 4"),
        ([tensor(datatype="FP16")], {}, "FP16 has no typed contents"),
        ([tensor(datatype="INT8")], {}, "expected int_contents for INT8, got fp32_contents"),
        (
            [tensor(datatype="INT8", contents={"int_contents": [1, 2, 3, 128]})],
            {},
            "expected numbers from -128 to 127",
        ),
        (
            [tensor(contents={"fp32_contents": [1, 2, 3, float("nan")]})],
            {},
            "fp32_contents[3] is not a finite number that fits in float32",
        ),
        ([raw()], {"raw_input_contents": [b"", b""]}, "expected one entry for each of 1 inputs"),
        ([raw()], {"raw_input_contents": [b"1234"]}, "expected 16 bytes"),
        ([tensor()], {"raw_input_contents": [bytes(16)]}, "got both"),
    ],
)
def test_a_wrong_message_is_refused_with_its_place(
    inputs: list[Any], more: dict[str, Any], sentence: str
) -> None:
    """The sentence says what was expected where."""
    with pytest.raises(WireError) as refused:
        read(*inputs, **more)
    assert sentence in str(refused.value)


def test_a_stream_s_arrays_have_any_shape() -> None:
    """Without a shape, it is one row."""
    assert read_tensor32(Tensor32(array=[1, 2]), LIMIT).tolist() == [1, 2]
    array = np.arange(6, dtype="float32").reshape(1, 2, 3)
    again = read_tensor32(write_tensor32(array), LIMIT)
    np.testing.assert_array_equal(again, array)
    assert again.dtype == np.float32
    assert write_tensor32(np.array([3], "int64")).array == [3.0]
    assert write_tensor32(np.array([1e300])).array == [float("inf")]


@pytest.mark.parametrize(
    ("array", "shape", "sentence"),
    [
        ([], [], "whole numbers above 0"),
        ([1], [-1], "whole numbers above 0"),
        ([1] * 3, [2, 2], "expected 4 numbers, as the shape [2, 2] states, got 3"),
        ([1], [2**30, 2**30], "at most 1000 elements"),
        ([1] * 1001, [], "at most 1000 elements, got 1001"),
    ],
)
def test_a_wrong_array_of_a_stream_is_refused(
    array: list[float], shape: list[int], sentence: str
) -> None:
    """Before anything is allocated."""
    with pytest.raises(WireError) as refused:
        read_tensor32(Tensor32(array=array, shape=shape), LIMIT)
    assert sentence in str(refused.value)
