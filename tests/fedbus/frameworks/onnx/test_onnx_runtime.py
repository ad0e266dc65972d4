"""ONNX models answer what onnxruntime itself does, and are tried in a child first."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest

from fedbus.data.digits import digits
from fedbus.errors import LayoutError, PluginError, TrainingError
from fedbus.frameworks.file_admission import FileAdmission
from fedbus.frameworks.onnx import runtime
from fedbus.frameworks.onnx.onnx_session import find_onnxruntime, open_session
from fedbus.frameworks.onnx.runtime import OnnxRuntime
from fedbus.frameworks.onnx.trial import admit_onnx
from fedbus.frameworks.onnx.trial_child import try_model
from fedbus.model.layout import Array
from tests.fedbus.frameworks.model_files_data import model_file
from tests.fedbus.frameworks.onnx.test_onnx_verify import X, Y, model, node

pytestmark = pytest.mark.skipif(not find_spec("onnxruntime"), reason="no onnxruntime")
ROWS, LABELS = digits()


def called_directly(file: bytes, rows: Array) -> Array:
    """Run a model by onnxruntime's own interface, three rows at a time."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    found: list[Array] = []
    for first in range(0, len(rows), 3):
        part = np.zeros((3, 64), np.float32)
        part[: len(rows[first : first + 3])] = rows[first : first + 3]
        found.extend(session.run(None, {"image": part})[0])
    return np.array(found[: len(rows)])


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("name", ["plain", "int8", "three_rows"])
def test_a_model_answers_what_onnxruntime_itself_does(name: str, count: int) -> None:
    """Float, quantized, with any number of rows and with a fixed one."""
    file = model_file(f"{name}.onnx")
    opened = OnnxRuntime({"blob": file})
    wanted = called_directly(file, ROWS[:count])
    np.testing.assert_allclose(np.asarray(opened.predict(ROWS[:count])), wanted, atol=1e-5)
    assert opened.output_activation == "softmax"


def test_a_quantized_model_is_right_about_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine of ten; many rows go in parts."""
    monkeypatch.setattr(runtime, "ROWS_AT_ONCE", 500)
    found = np.asarray(OnnxRuntime({"blob": model_file("int8.onnx")}).predict(ROWS))
    assert (found.argmax(axis=1) == LABELS).mean() > 0.9


@pytest.mark.parametrize("count", [1, 7])
def test_several_inputs_and_outputs_have_names(count: int) -> None:
    """Those of the graph; dtypes are converted."""
    opened = OnnxRuntime({"blob": model_file("two.onnx")})
    image = np.arange(4 * count, dtype=np.float64).reshape(count, 4)
    found = opened.predict_named({"extra": np.ones((count, 2), np.int64), "image": image})
    assert isinstance(found, dict)
    np.testing.assert_allclose(found["twice"], image * 2)
    np.testing.assert_allclose(found["total"], image.sum(axis=1) + 2)
    assert opened.output_activation is None
    with pytest.raises(TrainingError, match="has the inputs extra, image: name each"):
        opened.predict(image)
    with pytest.raises(TrainingError, match="takes extra, image, and got nothing"):
        opened.predict_named({})


@pytest.mark.parametrize(
    "rows",
    [np.zeros((1, 63)), np.zeros(64), np.zeros((0, 64)), np.full((1, 64), "a")],
)
def test_rows_of_another_shape_are_refused(rows: Array) -> None:
    """With both shapes."""
    with pytest.raises(TrainingError, match=r"image is .*; the model takes \('rows', 64\)"):
        OnnxRuntime({"blob": model_file("plain.onnx")}).predict(rows)


def test_a_version_has_no_weights_beside_the_file() -> None:
    """They are inside; and without a file there is nothing."""
    opened = OnnxRuntime({"blob": model_file("plain.onnx")})
    opened.load({})
    with pytest.raises(LayoutError, match="has its weights inside, and cannot take w"):
        opened.load({"w": np.zeros(1)})
    with pytest.raises(TrainingError, match="has a blob, bytes; this one has name"):
        OnnxRuntime({"name": "mlp"})


BROKEN = model(node("MatMul", ["x", "x"], "y"), X, Y)
UNKNOWN = model(node("NoSuchOperator", ["x"], "y"), X, Y)


def test_what_the_kernels_refuse_is_a_sentence() -> None:
    """The file may be whole, and its shapes not fit."""
    with pytest.raises(TrainingError, match="onnxruntime refuses the file"):
        open_session(UNKNOWN)
    with pytest.raises(TrainingError, match=r"the model cannot take \{'x': \(1, 2\)\}"):
        OnnxRuntime({"blob": BROKEN}).predict(np.zeros((1, 2), np.float32))


def test_a_model_is_tried_in_a_child_once() -> None:
    """What passes, and what does not, is remembered."""
    tried: dict[str, tuple[bool, str]] = {}
    digest = admit_onnx(FileAdmission(tried=tried), model_file("plain.onnx"))
    assert tried[digest] == (False, "")
    for file, why in ((BROKEN, "the model cannot take"), (UNKNOWN, "onnxruntime refuses")):
        for _ in range(2):
            with pytest.raises(TrainingError, match=f"the .onnx file does not run: {why}"):
                admit_onnx(FileAdmission(tried=tried), file)
    assert len(tried) == 3
    assert try_model(model_file("two.onnx")) == {"inputs": 2}
    assert try_model(model_file("three_rows.onnx")) == {"inputs": 1}


def test_without_onnxruntime_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or why it does not load."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(PluginError, match=r'pip install "fedbus\[onnx\]"'):
        find_onnxruntime()
