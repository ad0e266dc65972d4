"""TensorFlow Serving's JSON, and metadata of the Open Inference Protocol, without a server."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from fedbus.errors import WireError
from fedbus_inference.input_spec import InputSpec
from fedbus_inference.local_requests import PredictionOutcome
from fedbus_inference.open_inference.model_metadata import (
    all_ready,
    chosen_version,
    model_metadata,
)
from fedbus_inference.predict_json import read_predict_request, write_predict_answer
from fedbus_inference.served_version import OutputSpec, ServedVersion
from fedbus_inference.serving_status import ModelStatus, VersionStatus
from tests.inference.harness import Sums


def read(body: object, limit: int = 100) -> dict[str, Any]:
    """Read a request; return its arrays as lists."""
    request = read_predict_request(json.dumps(body).encode(), limit)
    return {name: array.tolist() for name, array in request.inputs.items()}


def test_rows_and_columns_give_the_same_arrays() -> None:
    """With names and without; truth values stay such."""
    assert read({"instances": [[1, 2], [3, 4]]}) == {"inputs": [[1, 2], [3, 4]]}
    assert read({"inputs": [[1, 2], [3, 4]]}) == {"inputs": [[1, 2], [3, 4]]}
    named = {"a": [[1], [2]], "b": [True, False]}
    assert read({"instances": [{"a": [1], "b": True}, {"b": False, "a": [2]}]}) == named
    assert read({"inputs": named, "signature_name": "serving_default"}) == named


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ([], 'expected an object with "instances"'),
        ({}, 'expected an object with "instances"'),
        ({"instances": [1], "inputs": [1]}, 'expected an object with "instances"'),
        ({"inputs": [1], "signature_name": "train"}, "expected 'serving_default', got 'train'"),
        ({"instances": []}, "at least one row"),
        ({"instances": 7}, "at least one row"),
        ({"instances": [{"a": 1}, {"b": 1}]}, "instances[1]: expected an object with the names"),
        ({"instances": [{"a": 1}, 7]}, "instances[1]: expected an object with the names"),
        ({"instances": [[1], [1, 2]]}, "instances[1]: expected 1 elements"),
        ({"inputs": {"b64": "AA"}}, "inputs: bytes (b64) are not taken"),
        ({"inputs": {"a": [1] * 60, "b": [1] * 60}}, "inputs.b: expected at most 40 numbers"),
        ({"inputs": [[[]]]}, "contain no number"),
        ({"inputs": None}, "expected nested lists of numbers"),
    ],
)
def test_a_wrong_request_is_refused_with_its_place(body: object, sentence: str) -> None:
    """The sentence says what was expected where."""
    with pytest.raises(WireError) as refused:
        read(body)
    assert sentence in str(refused.value)


def test_an_answer_has_rows_or_columns_and_what_they_mean() -> None:
    """Several outputs have names; a single one needs none."""
    scores = np.array([[0.25, np.nan], [1, 0]])
    one = PredictionOutcome(
        "digits",
        3,
        {"outputs": scores},
        answers="classes",
        derived={"classes": ["a", "b"], "probabilities": scores},
        warnings=("far",),
    )
    rows = json.loads(write_predict_answer(one, as_rows=True))
    assert rows["predictions"] == rows["probabilities"] == [[0.25, None], [1, 0]]
    assert (rows["answers"], rows["classes"], rows["warnings"]) == ("classes", ["a", "b"], ["far"])
    assert json.loads(write_predict_answer(one, as_rows=False))["outputs"] == rows["predictions"]
    two = PredictionOutcome("digits", 3, {"a": np.zeros(2), "b": np.ones((2, 1))})
    assert json.loads(write_predict_answer(two, as_rows=True)) == {
        "model": "digits",
        "version": 3,
        "predictions": [{"a": 0, "b": [1]}, {"a": 0, "b": [1]}],
    }
    columns = json.loads(write_predict_answer(two, as_rows=False))["outputs"]
    assert columns == {"a": [0, 0], "b": [[1], [1]]}


def test_metadata_name_inputs_outputs_and_loaded_versions() -> None:
    """-1 stands for any length; a version that is being loaded is not listed."""
    inputs = {"x": InputSpec((64,)), "any": InputSpec(None, "int8")}
    served = ServedVersion(
        "digits", 3, inputs, Sums(0, {}), outputs={"y": OutputSpec((10,), "float64")}
    )
    loading = VersionStatus(4, None, "loading")
    status = ModelStatus("digits", 3, (VersionStatus(3, served), loading), aliases={"live": 3})
    assert asdict(model_metadata(status, served)) == {
        "name": "digits",
        "versions": ["3"],
        "platform": "fedbus",
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [-1, 64]},
            {"name": "any", "datatype": "INT8", "shape": [-1]},
        ],
        "outputs": [{"name": "y", "datatype": "FP64", "shape": [-1, 10]}],
    }
    assert all(chosen_version(status, choice) is served for choice in ("", "3", "live"))
    for choice in ("4", "9", "production"):
        assert chosen_version(status, choice) is None
    waiting = ModelStatus("other", None, (loading,))
    assert chosen_version(waiting, "") is None
    assert (all_ready([]), all_ready([status]), all_ready([status, waiting])) == (True, True, False)


@pytest.mark.parametrize(
    ("numbers", "dtype"),
    [
        ([2**53 + 1, -(2**63)], "int64"),
        ([2**64 - 1, 0], "uint64"),
        ([2**53 + 1, -1, 0.5], "float64"),
        ([1e300, 1], "float64"),
        ([2**53 - 1, 1], "float64"),
    ],
)
def test_large_whole_numbers_stay_exact(numbers: list[float], dtype: str) -> None:
    """An identifier in an int64 input is not rounded to its neighbour."""
    request = read_predict_request(json.dumps({"instances": [numbers]}).encode(), 100)
    (array,) = request.inputs.values()
    assert array.dtype == dtype
    assert array.tolist() == [[np.dtype(dtype).type(number) for number in numbers]]


@pytest.mark.parametrize("choice", ["9" * 5000, "\u0661", "\u00b2", "9" * 16])
def test_what_is_no_version_is_not_loaded(choice: str) -> None:
    """Digits of another script are no version 1; more of them than a version has are no fault."""
    first = VersionStatus(1, ServedVersion("digits", 1, {}, Sums(0, {})))
    status = ModelStatus("digits", 1, (first,))
    assert chosen_version(status, "1") is not None
    assert chosen_version(status, choice) is None
