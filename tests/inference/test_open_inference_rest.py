"""Requests and answers of the Open Inference Protocol over REST, read and written."""

import json
from typing import Any

import numpy as np
import pytest

from fedbus.errors import WireError
from fedbus.model.layout import DTYPES
from fedbus_inference.open_inference.datatypes import DTYPES_BY_DATATYPE, datatype_of
from fedbus_inference.open_inference.infer_answers import write_infer_answer
from fedbus_inference.open_inference.infer_requests import InferRequest, read_infer_request

LIMIT = 1000


def tensor(**changed: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Describe a valid input, with some of its fields changed; None removes one."""
    stated = {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2.5, 3, 4]} | changed
    return {name: value for name, value in stated.items() if value is not None}


def read(*inputs: Any, **more: Any) -> InferRequest:  # noqa: ANN401 - JSON
    """Read a request of these inputs, as JSON alone."""
    body = json.dumps({"inputs": inputs, **more}).encode()
    return read_infer_request(body, None, LIMIT)


def read_binary(inputs: list[Any], *data: bytes, length: int | None = None) -> InferRequest:
    """Read a request with binary tensors behind its JSON."""
    head = json.dumps({"inputs": inputs}).encode()
    return read_infer_request(
        b"".join((head, *data)), len(head) if length is None else length, LIMIT
    )


def sized(size: object, **changed: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Describe an input whose data follow the JSON."""
    return tensor(data=None, parameters={"binary_data_size": size}, **changed)


def test_each_dtype_of_a_model_has_a_datatype() -> None:
    """A model's layout and the protocol name the same twelve kinds of numbers."""
    assert {datatype_of(dtype): dtype for dtype in DTYPES} == DTYPES_BY_DATATYPE


@pytest.mark.parametrize("datatype", DTYPES_BY_DATATYPE)
def test_each_datatype_is_read_from_json_and_from_bytes(datatype: str) -> None:
    """Both forms give the same array, of the dtype that the datatype stands for."""
    dtype = DTYPES_BY_DATATYPE[datatype]
    array = np.array([[0, 1], [1, 1]], dtype)
    by_json = read(tensor(datatype=datatype, data=array.tolist()))
    by_bytes = read_binary([sized(array.nbytes, datatype=datatype)], array.tobytes())
    for request in (by_json, by_bytes):
        assert request.inputs["x"].dtype == dtype
        np.testing.assert_array_equal(request.inputs["x"], array)


def test_flat_and_nested_data_are_the_same() -> None:
    """The specification allows both; the shape decides."""
    nested = [[[[1], [2.5]], [[3], [4]]]]
    assert read(tensor(data=nested)).inputs["x"].tolist() == [[1.0, 2.5], [3.0, 4.0]]
    assert read(tensor()).inputs["x"].tolist() == [[1.0, 2.5], [3.0, 4.0]]


def test_wanted_outputs_id_and_parameters_are_read() -> None:
    """An output says itself how it is wanted, else the request's parameter does."""
    request = read(
        tensor(),
        id="7",
        parameters={"binary_data_output": True, "priority": 3, "timeout": 1500},
        outputs=[{"name": "a"}, {"name": "b", "parameters": {"binary_data": False}}],
    )
    assert request.outputs == {"a": True, "b": False}
    assert (request.id, request.binary, request.timeout) == ("7", True, 0.0015)
    assert (read(tensor()).outputs, read(tensor()).timeout) == ({}, None)


def test_binary_and_json_tensors_mix_in_one_request() -> None:
    """The bytes follow in the order of the inputs that have some."""
    data = np.arange(4, dtype="<f4").tobytes()
    request = read_binary([sized(16, name="a"), tensor(name="b"), sized(16, name="c")], data, data)
    assert list(request.inputs) == ["a", "b", "c"]
    assert request.inputs["c"].tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"name": None}, "inputs[0].name: expected 1 to 256 characters"),
        ({"name": ""}, "inputs[0].name"),
        ({"name": "n" * 257}, "inputs[0].name"),
        ({"datatype": "BYTES"}, "BYTES (strings) is not taken by any model here"),
        ({"datatype": "BF16"}, "expected a datatype among"),
        ({"datatype": 7}, "expected a datatype among"),
        ({"shape": None}, "inputs[0].shape: expected a list"),
        ({"shape": [2, -1]}, "whole numbers above 0"),
        ({"shape": [0, 2]}, "whole numbers above 0"),
        ({"shape": [2.0, 2]}, "whole numbers above 0"),
        ({"shape": [True, 4]}, "whole numbers above 0"),
        ({"shape": [1] * 9}, "at most 8 whole numbers"),
        ({"shape": [2**62, 2**62]}, f"at most {LIMIT} elements, got {2**124}"),
        ({"shape": [1001]}, f"at most {LIMIT} elements, got 1001"),
        ({"shape": [3]}, "expected 3 elements, as the shape states, got 4"),
        ({"data": None}, "inputs[0].data: expected a list of elements, got None"),
        ({"data": []}, "inputs[0].data of shape [0] contain no number"),
        ({"data": [[1, 2], 3, 4]}, "inputs[0].data[1]: expected a list, got a number"),
        ({"data": [[1, 2, 3], [4, 5]]}, "inputs[0].data[1]: expected 3 elements"),
        ({"data": [[1, 2, 3], [4, 5, 6]]}, "expected 4 elements, as the shape states, got 6"),
        ({"data": [1] * 1001}, f"at most {LIMIT} numbers, got 1001"),
        ({"data": [[[[[[[[[1]]]]]]]]]}, "at most 8 levels of lists, got more"),
        ({"data": [[1], [2], [3]]}, "expected 4 elements, as the shape states, got 3"),
        ({"data": [1, 2, 3, "4"]}, "inputs[0].data[3]: expected a number, got a string"),
        ({"data": [1, 2, 3, True]}, "inputs[0].data[3]: expected a number, got a Boolean"),
        ({"data": [1, 2, 3, 1e39]}, "data[3] is not a finite number that fits in float32"),
        ({"datatype": "FP64", "data": [1, 2, 3, 4], "shape": [5]}, "expected 5 elements"),
        ({"datatype": "INT8", "data": [1, 2, 3, 128]}, "expected numbers from -128 to 127"),
        ({"datatype": "UINT8", "data": [1, 2, 3, -1]}, "expected numbers from 0 to 255"),
        (
            {"datatype": "INT8", "data": [1, 2, 3, 0.5]},
            "data[3]: expected a whole number",
        ),
        ({"datatype": "BOOL"}, "data[0]: expected true or false, got a number"),
        ({"parameters": []}, "inputs[0].parameters: expected an object"),
        ({"parameters": {"binary_data_size": 4}}, "expected data or binary_data_size, got both"),
    ],
)
def test_a_wrong_input_is_refused_with_its_place(changed: dict[str, Any], sentence: str) -> None:
    """The sentence says what was expected where."""
    with pytest.raises(WireError) as refused:
        read(tensor(**changed))
    assert sentence in str(refused.value)


def test_a_number_too_large_for_float64_is_refused() -> None:
    """Python's whole numbers have no limit of their own; JSON's digits have."""
    with pytest.raises(WireError, match="that fits in float16"):
        read(tensor(datatype="FP16", data=[1, 2, 3, 10**30]))
    with pytest.raises(WireError, match="32 digits"):
        read(tensor(datatype="FP64", data=[1, 2, 3, 10**40]))


@pytest.mark.parametrize(
    ("inputs", "more", "sentence"),
    [
        ([], {}, "inputs: expected at least one tensor"),
        ([1], {}, "inputs: expected a list of objects"),
        ([tensor(), tensor()], {}, "inputs[1].name: 'x' is given more than once"),
        ([tensor(name=f"n{i}") for i in range(65)], {}, "at most 64 tensors, got 65"),
        ([tensor()], {"outputs": {}}, "outputs: expected a list of objects"),
        ([tensor()], {"outputs": [{}]}, "outputs[0].name"),
        ([tensor()], {"id": 7}, "id: expected at most 256 characters"),
        ([tensor()], {"parameters": {"binary_data_output": 1}}, "expected true or false, got 1"),
        (
            [tensor()],
            {"outputs": [{"name": "y", "parameters": {"classification": 3}}]},
            "this extension is not supported",
        ),
    ],
)
def test_a_wrong_request_is_refused_with_its_place(
    inputs: list[Any], more: dict[str, Any], sentence: str
) -> None:
    """The sentence says what was expected where."""
    with pytest.raises(WireError) as refused:
        read(*inputs, **more)
    assert sentence in str(refused.value)


def test_the_limit_of_elements_is_one_of_the_whole_request() -> None:
    """Many inputs cannot hold more than one may."""
    with pytest.raises(WireError, match=r"inputs\[1\].shape: expected at most 200 elements"):
        read(
            tensor(shape=[800], data=[0] * 800),
            tensor(name="y", shape=[800], data=[0] * 800),
        )


@pytest.mark.parametrize("body", [b"", b"[]", b'{"inputs": [', b"\xff\xfe[", b"[" * 100])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    """Also an empty body, another encoding, and nesting without end."""
    with pytest.raises(WireError):
        read_infer_request(body, None, LIMIT)


@pytest.mark.parametrize(
    ("inputs", "data", "length", "sentence"),
    [
        ([sized(16)], b"", None, "binary_data_size: expected 0 to 0"),
        ([sized(-1)], bytes(16), None, "binary_data_size: expected 0 to 16"),
        ([sized("16")], bytes(16), None, "binary_data_size: expected 0 to 16"),
        ([sized(12)], bytes(12), None, "expected 16 bytes for float32 of shape [2, 2], got 12"),
        ([sized(16)], bytes(17), None, "expected 16 bytes behind the JSON"),
        ([tensor()], bytes(1), None, "expected 0 bytes behind the JSON"),
        ([sized(4, datatype="BOOL")], b"\0\1\1\2", None, "a byte 0 or 1"),
        ([sized(16)], bytes(16), -1, "Inference-Header-Content-Length: expected 0 to"),
        ([sized(16)], bytes(16), 10**9, "Inference-Header-Content-Length: expected 0 to"),
        ([sized(16)], bytes(16), 3, "not JSON"),
    ],
)
def test_binary_data_that_do_not_fit_are_refused(
    inputs: list[Any], data: bytes, length: int | None, sentence: str
) -> None:
    """Each length is compared with what was sent before an array is made."""
    with pytest.raises(WireError) as refused:
        read_binary(inputs, data, length=length)
    assert sentence in str(refused.value)


def test_an_answer_has_all_outputs_as_json() -> None:
    """Without a choice; NaN, which JSON lacks, becomes null."""
    outputs = {"y": np.array([[1.5, np.nan]], "float32"), "n": np.array([3], "int64")}
    body, head = write_infer_answer(InferRequest({}), "digits", 4, outputs)
    assert head is None
    assert json.loads(body) == {
        "model_name": "digits",
        "model_version": "4",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [1.5, None]},
            {"name": "n", "datatype": "INT64", "shape": [1], "data": [3]},
        ],
    }


def test_an_answer_has_the_wanted_outputs_as_bytes_behind_the_json() -> None:
    """In the order of the request, with its id, little-endian."""
    outputs = {"y": np.array([[1.5]], ">f8"), "n": np.array([3], "int64"), "o": np.zeros(9)}
    wanted = InferRequest({}, {"n": False, "y": True}, id="7")
    body, head = write_infer_answer(wanted, "digits", 4, outputs, {"warnings": "far"})
    assert head is not None
    answer = json.loads(body[:head])
    assert (answer["id"], answer["parameters"]) == ("7", {"warnings": "far"})
    assert answer["outputs"][0]["data"] == [3]
    assert answer["outputs"][1] == {
        "name": "y",
        "datatype": "FP64",
        "shape": [1, 1],
        "parameters": {"binary_data_size": 8},
    }
    assert body[head:] == np.array([1.5], "<f8").tobytes()


def test_an_output_that_the_model_lacks_is_refused() -> None:
    """The sentence names those that it has."""
    wanted = InferRequest({}, {"z": False})
    with pytest.raises(WireError, match="no output 'z'; the model has y"):
        write_infer_answer(wanted, "digits", 4, {"y": np.zeros(1)})
