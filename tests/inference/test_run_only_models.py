"""Model files that only run answer requests as their framework does, after a push."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

from fedbus.client.model_inputs import InputTerms
from fedbus.client.model_source import prepare_model
from fedbus.core.actions import Reply
from fedbus.data.digits import digits
from fedbus.frameworks.onnx.runtime import OnnxRuntime
from fedbus.frameworks.tflite.admission import Admission
from fedbus.frameworks.tflite.runtime import open_runtime
from fedbus.wire.documents import ModelLatest
from fedbus_inference.encoding import Encoding
from fedbus_inference.loading import load_version, open_spec
from fedbus_inference.model_runtimes import runtime_for
from fedbus_inference.prediction import PredictionRequest, answer_requests
from fedbus_inference.served_version import ServedVersion
from fedbus_inference.settings import InferenceSettings
from tests.fedbus.frameworks.model_files_data import FOLDER, model_file
from tests.inference.harness import REPLY

RUNTIMES = ("tflite_runtime", "ai_edge_litert")
pytestmark = pytest.mark.skipif(
    not any(map(find_spec, RUNTIMES)) or not find_spec("onnxruntime"), reason="no runtimes"
)
ROWS, _ = digits()
OPENERS = {"tflite": open_runtime, "onnx": OnnxRuntime}


def served(name: str, inputs: InputTerms | None = None) -> ServedVersion:
    """Push a file, and load it as the service does."""
    packed = prepare_model(FOLDER / name, inputs=inputs)
    push, blobs = packed.push, packed.blobs
    latest = ModelLatest(
        model=push.model,
        version=1,
        digest=push.weights.digest,
        size=push.weights.size,
        spec=push.spec,
        source="repository.main",
        metrics={},
        parent=None,
        job=None,
        round=0,
    )
    runtime = runtime_for("auto", admission=Admission(tried={}))
    opened = open_spec(blobs[push.spec.digest], push.spec, runtime, InferenceSettings())
    assert opened.blob is not None
    file = blobs[opened.blob.digest]
    return load_version(opened, latest, file, blobs[push.weights.digest], runtime.load)


def answer(served: ServedVersion, inputs: object) -> dict[str, object]:
    """Ask for a prediction in JSON."""
    request = PredictionRequest(json.dumps({"inputs": inputs}).encode(), Encoding.JSON, REPLY)
    (reply,) = answer_requests(served, [request], 10_000).replies
    assert isinstance(reply, Reply)
    found: dict[str, object] = json.loads(reply.payload)
    return found


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("kind", ["tflite", "onnx"])
@pytest.mark.parametrize("name", ["plain", "int8", "three_rows"])
def test_a_pushed_file_answers_as_its_framework(kind: str, name: str, count: int) -> None:
    """With the class that follows from the probabilities."""
    made = served(f"{name}.{kind}")
    found = answer(made, ROWS[:count].tolist())
    wanted = np.asarray(OPENERS[kind]({"blob": model_file(f"{name}.{kind}")}).predict(ROWS[:count]))
    np.testing.assert_allclose(np.array(found["outputs"]), wanted, atol=1e-6)
    assert found["classes"] == wanted.argmax(axis=1).tolist()
    assert made.outputs["outputs"].shape == (10,)


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_named_inputs_and_outputs_of_a_file(kind: str) -> None:
    """Those that its converter gave it."""
    made = served(f"two.{kind}")
    assert {name: (each.shape, each.dtype) for name, each in made.inputs.items()} == {
        "extra": ((2,), "int32"),
        "image": ((4,), "float32"),
    }
    assert {name: each.shape for name, each in made.outputs.items()} == {"total": (), "twice": (4,)}
    found = answer(made, {"image": [[1, 2, 3, 4], [0, 0, 0, 1]], "extra": [[1, 1], [5, 0]]})
    assert found["outputs"] == {"total": [12, 6], "twice": [[2, 4, 6, 8], [0, 0, 0, 2]]}
    assert "'extra' is missing" in str(answer(made, {"image": [[1, 2, 3, 4]]})["error"])


STEPS = json.dumps(
    [
        {"id": "normalize", "parameters": {"high": 16}},
        {"id": "one-hot", "parameters": {"classes": 10}},
    ]
)


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_raw_readings_are_answered_as_prepared_ones(kind: str) -> None:
    """Pixels of 0 to 16, by the model's own transforms; other numbers as the model says."""
    said = InputTerms(preprocessing=STEPS, range=(0, 16), out_of_range="warn")
    made = served(f"plain.{kind}", said)
    pixels = np.rint(ROWS[:7] * 16)
    found, wanted = (
        answer(made, pixels.tolist()),
        answer(served(f"plain.{kind}"), ROWS[:7].tolist()),
    )
    np.testing.assert_allclose(np.array(found["outputs"]), np.array(wanted["outputs"]), atol=1e-6)
    assert "warnings" not in found
    for times in (-1, 2):
        far = answer(made, (pixels * times).tolist())
        assert "in training all were from 0 to 16" in str(far["warnings"])
    refusing = served(f"plain.{kind}", InputTerms(preprocessing=STEPS, range=(0, 16)))
    assert "this model takes numbers from 0 to 16" in str(answer(refusing, (pixels * 2).tolist()))


def test_rows_that_a_transform_refuses_are_the_requests_fault() -> None:
    """Not a failure of the model; those that wait beside it are answered."""
    made = served("plain.tflite", InputTerms(preprocessing=STEPS))
    pixels = np.rint(ROWS[:1] * 16)
    payloads = [json.dumps({"inputs": (pixels * n).tolist()}).encode() for n in (1, 2)]
    requests = [PredictionRequest(each, Encoding.JSON, REPLY) for each in payloads]
    result = answer_requests(made, requests, 10_000)
    assert (result.refused, result.failure) == (1, "")
    good, bad = (json.loads(reply.payload) for reply in result.replies if isinstance(reply, Reply))
    assert "outputs" in good
    assert bad["kind"] == "invalid"
    assert bad["error"].startswith(
        "the model's preprocessing: transform 1 (normalize): x holds 1.875"
    )


def test_rows_that_grow_too_large_between_steps_are_refused() -> None:
    """The memory is bounded before it is taken."""
    steps = [
        {"id": "resize", "parameters": {"size": [4000, 4000]}},
        {"id": "resize", "parameters": {"size": [8, 8]}},
        {"id": "reshape", "parameters": {"size": [64]}},
    ]
    said = InputTerms(preprocessing=json.dumps(steps), raw_input='{"shape": [8, 8, 1]}')
    made = served("plain.tflite", said)
    rows = np.zeros((20, 8, 8, 1), np.float32)
    found = answer(made, rows.tolist())
    assert "in the model's preprocessing; at most 1073741824: send fewer" in str(found["error"])
