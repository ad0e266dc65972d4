"""Models whose inputs make them compute very long: the service goes on, and they are ended."""

import json
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.live_inference import LiveService, live_service
from fedbus import demo_data
from fedbus.errors import TrainingError
from fedbus.frameworks.onnx import runtime
from fedbus.frameworks.onnx.runtime import OnnxRuntime
from fedbus.frameworks.tflite.verify import verify
from tests.fedbus.frameworks.model_files_data import FOLDER, model_file

pytestmark = pytest.mark.skipif(
    not find_spec("onnx") or not find_spec("onnxruntime"), reason="no onnx, no onnxruntime"
)
FOREVER = 1e12


def looping_model() -> bytes:
    """Write a model that takes the sine of its input as often as the input says."""
    from onnx import TensorProto, helper

    def value(name: str, shape: list[Any], dtype: int = TensorProto.FLOAT) -> Any:  # noqa: ANN401 - no types
        return helper.make_tensor_value_info(name, dtype, shape)

    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Sin", ["a"], ["b"])],
        "body",
        [
            value("turn", [], TensorProto.INT64),
            value("go", [], TensorProto.BOOL),
            value("a", ["n", 1]),
        ],
        [value("on", [], TensorProto.BOOL), value("b", ["n", 1])],
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["turns"], to=TensorProto.INT64),
        helper.make_node("Loop", ["turns", "", "x"], ["y"], body=body),
    ]
    graph = helper.make_graph(nodes, "g", [value("x", ["n", 1])], [value("y", ["n", 1])])
    opset = [helper.make_opsetid("", 17)]
    file: bytes = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    return file


def test_a_model_that_loops_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a time; the next request is answered."""
    monkeypatch.setattr(runtime, "MAX_RUN_SECONDS", 0.3)
    model = OnnxRuntime({"blob": looping_model()})
    assert not model.is_steady
    with pytest.raises(TrainingError, match=r"the model computed for more than 0\.3 s"):
        model.predict(np.array([[FOREVER]], np.float32))
    once = model.predict(np.array([[1]], np.float32))
    np.testing.assert_allclose(np.asarray(once), np.sin([[1.0]]), rtol=1e-6)
    with pytest.raises(TrainingError, match="x is float32"):
        model.predict(np.ones((1, 2), np.float32))


def test_models_whose_time_does_not_depend_on_numbers_are_known() -> None:
    """Those may be computed in the event loop."""
    assert OnnxRuntime({"blob": model_file("plain.onnx")}).is_steady
    assert verify(model_file("plain.tflite")).main.is_steady
    demo = verify(demo_data.read("digits.tflite"))
    assert demo.signatures["infer"].is_steady


@pytest.fixture
def service(tmp_path: Path) -> Iterator[LiveService]:
    """Run a service with a model that loops, and one that does not."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "loop.onnx").write_bytes(looping_model())
    (models / "plain.tflite").write_bytes((FOLDER / "plain.tflite").read_bytes())
    with live_service(tmp_path, models=str(models)) as running:
        running.until_ready("loop")
        running.until_ready("plain")
        yield running


@pytest.mark.system
def test_a_model_that_loops_delays_no_other(service: LiveService) -> None:
    """However fast it was before: its request is refused in time, others are answered."""

    def ask(model: str, row: list[float], **headers: str) -> int:
        body = json.dumps({"instances": [row]}).encode()
        return service.send(f"/v1/models/{model}:predict", body, **headers)[0]

    for _ in range(30):
        assert ask("loop", [1.0]) == 200
    refused: list[int] = []
    endless = threading.Thread(
        target=lambda: refused.append(ask("loop", [FOREVER], Request_Timeout="5"))
    )
    endless.start()
    time.sleep(0.5)
    assert ask("plain", [0.0] * 64) == 200
    assert endless.is_alive()
    endless.join(20)
    assert refused == [504]
