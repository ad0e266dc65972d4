"""A model's files, before they are pushed or simulated."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fedbus import demo_data
from fedbus.cli.output_files import write_weights
from fedbus.client import model_file_check
from fedbus.client.packing import read_model
from fedbus.errors import LayoutError, PluginError, TrainingError
from fedbus.model.layout import Layout

DIGITS = demo_data.read("digits.tflite")
SPEC = json.loads(demo_data.read("model.json"))
RUNTIMES = ("tflite_runtime", "ai_edge_litert", "tensorflow")


def lay(folder: Path, file: bytes) -> Path:
    """Write a spec beside a file, and weights for it."""
    architectures = {"tflite": {"blob": "net.tflite"}}
    (folder / "net.tflite").write_bytes(file)
    (folder / "spec.json").write_text(json.dumps({**SPEC, "architectures": architectures}))
    write_weights(folder / "w.npz", {t["name"]: np.ones(t["shape"], "f4") for t in SPEC["layout"]})
    return folder / "spec.json"


class Refusing:
    """No runtime is installed."""

    def admit(self, _data: bytes, _layout: Layout | None) -> str:
        raise PluginError("no TFLite runtime here")


@pytest.mark.parametrize("weights", [True, False])
def test_a_damaged_file_is_refused_with_and_without_weights(tmp_path: Path, weights: bool) -> None:
    """Without them the command itself would open it, and die."""
    spec = lay(tmp_path, DIGITS[: len(DIGITS) // 2])
    with pytest.raises(TrainingError, match=r"architectures\.tflite\.blob: not a whole .*model\."):
        read_model(spec, tmp_path / "w.npz" if weights else None)


@pytest.mark.parametrize("weights", [True, False])
def test_a_file_that_cannot_train_is_refused_with_the_mend(tmp_path: Path, weights: bool) -> None:
    """`--weights` would store what nothing can run."""
    spec = lay(tmp_path, DIGITS.replace(b"set_weights\0", b"sit_weights\0"))
    sentence = r"no signature 'set_weights'; it has .* export it with `fedbus models push"
    with pytest.raises(TrainingError, match=sentence):
        read_model(spec, tmp_path / "w.npz" if weights else None)


@pytest.mark.skipif(not any(map(find_spec, RUNTIMES)), reason="no TFLite runtime")
def test_a_whole_file_is_run_once(tmp_path: Path) -> None:
    """In a child, which is what takes its time; the same digest is not run again."""
    spec = lay(tmp_path, DIGITS)
    assert read_model(spec, tmp_path / "w.npz").push.model == SPEC["model"]


def test_without_a_runtime_a_warning_says_that_it_was_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights come from a file, then; agents try it before they open it."""
    monkeypatch.setattr(model_file_check, "Admission", Refusing)
    packed = read_model(lay(tmp_path, DIGITS), tmp_path / "w.npz")
    assert packed.push.model == SPEC["model"]
    (warning,) = packed.warnings
    assert warning.startswith("the .tflite file is whole, and was not run here: no TFLite")


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, odd: float) -> None:
    """With the tensor, and how many."""
    spec = lay(tmp_path, DIGITS)
    arrays = {t["name"]: np.ones(t["shape"], "f4") for t in SPEC["layout"]}
    arrays["layers.0.bias"][3:5] = odd
    write_weights(tmp_path / "w.npz", arrays)
    sentence = f"the weights, 'layers.0.bias': 2 of its numbers are not finite: {odd}"
    with pytest.raises(LayoutError, match=sentence):
        read_model(spec, tmp_path / "w.npz")
