"""Model files are pushed without a spec; the file says what the model takes and makes."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus import demo_data
from fedbus.cli.output.memory_needed import format_memory_needed
from fedbus.client.model_files import is_model_file, read_model_file, spec_of_file
from fedbus.client.model_source import prepare_model
from fedbus.errors import SettingsError, TrainingError
from fedbus.model.blob import decode
from fedbus.model.layout import Layout
from tests.fedbus.frameworks.model_files_data import FOLDER, model_file

RUNTIMES = ("tflite_runtime", "ai_edge_litert")
pytestmark = pytest.mark.skipif(not any(map(find_spec, RUNTIMES)), reason="no TFLite runtime")


@pytest.mark.parametrize(
    "name", ["plain.tflite", "int8.tflite", "three_rows.tflite", "plain.onnx", "int8.onnx"]
)
def test_a_file_that_only_runs_has_an_empty_layout(name: str) -> None:
    """It is packed with its own name, format and meaning, and no weights."""
    packed = prepare_model(FOLDER / name, classes=tuple("abcdefghij"))
    spec = packed.spec()
    assert (spec.model, spec.layout, spec.answers) == (name.partition(".")[0], (), "probabilities")
    assert spec.input == {"shape": [64], "dtype": "float32"}
    assert spec.classes == tuple("abcdefghij")
    empty = Layout((), may_be_empty=True)
    assert decode(packed.blobs[packed.push.weights.digest], empty, "plain") == {}
    assert model_file(name) in packed.blobs.values()
    assert format_memory_needed(spec).startswith("it only runs")


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_several_inputs_are_stated_by_name(kind: str) -> None:
    """Each with its own shape and dtype."""
    spec = prepare_model(FOLDER / f"two.{kind}", name="sums").spec()
    assert spec.model == "sums"
    assert spec.answers is None
    assert spec.input == {
        "inputs": {
            "extra": {"shape": [2], "dtype": "int32"},
            "image": {"shape": [4], "dtype": "float32"},
        }
    }


def test_a_file_that_trains_is_packed_with_the_weights_that_it_holds(tmp_path: Path) -> None:
    """So it needs no spec either, and a job can train it."""
    path = tmp_path / "my digits.tflite"
    path.write_bytes(demo_data.read("digits.tflite"))
    packed = prepare_model(path)
    spec = packed.spec()
    assert spec.model == "my-digits"
    assert {tensor.name for tensor in spec.layout} >= {"layers.0.weight", "layers.1.bias"}
    assert spec.input == {"shape": [64], "dtype": "float32"}
    assert spec.answers == "probabilities"
    held = {t.name: np.ones(t.shape, t.dtype) for t in Layout.read(spec.layout).tensors}
    np.savez(tmp_path / "w.npz", **held)
    other = prepare_model(path, weights=tmp_path / "w.npz")
    assert other.push.weights != packed.push.weights


def stated(tmp_path: Path, **changes: Any) -> Path:  # noqa: ANN401 - whatever a spec holds
    """Write a spec for the plain file."""
    shutil.copy(FOLDER / "plain.tflite", tmp_path)
    spec = {"model": "m", "layout": [], "architectures": {"tflite": {"blob": "plain.tflite"}}}
    path = tmp_path / "m.json"
    path.write_text(json.dumps(spec | changes))
    return path


def test_a_spec_may_state_an_empty_layout_itself(tmp_path: Path) -> None:
    """With what the file does not say."""
    spec = prepare_model(stated(tmp_path, input={"shape": [64]}, answers="classes")).spec()
    assert (spec.layout, spec.answers) == ((), "classes")


def test_weights_do_not_come_on_top_of_a_file_that_holds_them(tmp_path: Path) -> None:
    """They could only differ from its own."""
    np.savez(tmp_path / "w.npz", w=np.ones(1))
    with pytest.raises(SettingsError, match="whose file holds its weights, and here weights"):
        prepare_model(FOLDER / "plain.tflite", weights=tmp_path / "w.npz")
    with pytest.raises(SettingsError, match="no architecture names a file in `blob`"):
        prepare_model(stated(tmp_path, architectures={"torch": {"name": "mlp"}}))


def test_a_trainable_file_is_not_pushed_with_an_empty_layout(tmp_path: Path) -> None:
    """It would be stored as one that no job can train."""
    path = stated(tmp_path, architectures={"tflite": {"blob": "d.tflite"}})
    (tmp_path / "d.tflite").write_bytes(demo_data.read("digits.tflite"))
    with pytest.raises(TrainingError, match="can be trained, and the spec has an empty layout"):
        prepare_model(path)


def test_a_model_file_is_known_by_its_name_or_content(tmp_path: Path) -> None:
    """A spec, a folder or nothing is none."""
    renamed = tmp_path / "weights.bin"
    renamed.write_bytes(model_file("plain.tflite"))
    assert is_model_file(renamed)
    assert is_model_file(FOLDER / "plain.onnx")
    assert not is_model_file(stated(tmp_path))
    assert not is_model_file(tmp_path)
    assert not is_model_file(tmp_path / "none")


def test_half_a_file_is_refused_by_name(tmp_path: Path) -> None:
    """Before native code reads it; so is no file."""
    path = tmp_path / "half.tflite"
    path.write_bytes(model_file("plain.tflite")[:3000])
    with pytest.raises(TrainingError, match=r"not a whole \.tflite file"):
        prepare_model(path)
    path = tmp_path / "half.onnx"
    path.write_bytes(model_file("plain.onnx")[:3000])
    with pytest.raises(TrainingError, match=r"not an \.onnx file that can be used"):
        prepare_model(path)
    with pytest.raises(SettingsError, match="No such file"):
        read_model_file(tmp_path / "none.tflite")
    with pytest.raises(SettingsError):
        spec_of_file(model_file("plain.tflite"), "x.tflite", "no model's name")
