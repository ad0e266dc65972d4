"""Empty models: their specs, weights and warnings."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.client.empty_models import ZEROS_WARNING, empty_model, spec_of_layout
from fedbus.client.packed_model import PackedModel
from fedbus.errors import FedbusError, SettingsError
from fedbus.model.blob import decode
from fedbus.model.first_weights import Init
from fedbus.model.layout import Array, Layout

MLP = {"torch": {"name": "mlp", "config": {"layers": [8, 4, 3], "seed": 5}}}
TENSORS = [
    {"name": "w", "shape": [4, 3], "dtype": "float32"},
    {"name": "b", "shape": [3], "dtype": "float32"},
]


def weights_of(made: PackedModel) -> dict[str, Array]:
    """Read the weights of a packed model."""
    layout = Layout.read(made.spec().layout)
    return decode(made.blobs[made.push.weights.digest], layout, "plain")


@pytest.mark.parametrize("init", ["zeros", "random", "framework"])
def test_architectures_tell_the_layout(init: Init) -> None:
    """Of the first framework that is here; its own seed is that of `framework`."""
    trainer = pytest.importorskip("fedbus.frameworks.torch").TorchTrainer(MLP["torch"])
    plain = {"architectures": MLP, "input": {"shape": [8]}}
    made = empty_model("new", plain, {}, init, 1)
    spec, weights = made.spec(), weights_of(made)
    assert (spec.model, spec.answers) == ("new", "classes")
    assert {each.name for each in spec.layout} == trainer.initial().keys()
    assert (ZEROS_WARNING in made.warnings) == (init == "zeros")
    any_set = any(each.any() for each in weights.values())
    assert any_set == (init != "zeros")
    if init == "framework":
        np.testing.assert_array_equal(
            weights["layers.0.weight"], trainer.initial()["layers.0.weight"]
        )


def test_a_stored_spec_keeps_its_files_and_meaning() -> None:
    """As `--like` fetches them: the new model can be trained wherever the other one can."""
    pytest.importorskip("tflite_runtime")
    folder = files("fedbus.demo_data")
    plain = json.loads(folder.joinpath("model.json").read_text())
    file = folder.joinpath("digits.tflite").read_bytes()
    digest = plain["architectures"]["tflite"]["blob"]["digest"]
    made = empty_model("second", plain, {digest: file}, "random", 4)
    assert digest in made.blobs
    assert made.spec().answers == plain["answers"]
    assert made.spec().input == plain["input"]
    again = empty_model("second", plain, {digest: file}, "random", 4)
    assert made.push == again.push


def test_a_layout_alone_is_enough(tmp_path: Path) -> None:
    """For a model that a plug-in trains; a warning says what it lacks."""
    (tmp_path / "layout.json").write_text(json.dumps(TENSORS))
    plain, found = spec_of_layout(tmp_path / "layout.json")
    made = empty_model("own", plain, found)
    assert [each.name for each in made.spec().layout] == ["w", "b"]
    assert not weights_of(made)["w"].any()
    assert any("no architecture" in each for each in made.warnings)
    drawn = empty_model("own", plain, found, "random", 9)
    assert weights_of(drawn)["w"].any()


def test_a_spec_may_have_files_beside_it(tmp_path: Path) -> None:
    """As `models push` reads it."""
    (tmp_path / "net.bin").write_bytes(b"whatever a plug-in reads")
    spec = {"layout": TENSORS, "architectures": {"own": {"blob": "net.bin"}}}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    plain, found = spec_of_layout(tmp_path / "spec.json")
    assert list(found.values()) == [b"whatever a plug-in reads"]
    assert set(found) <= set(empty_model("own", plain, found).blobs)


@pytest.mark.parametrize(
    ("plain", "init", "sentence"),
    [
        ({"architectures": {}}, "zeros", "no framework here can tell the layout"),
        ({"architectures": {}, "layout": TENSORS}, "framework", "can make first weights"),
        ({"architectures": {"nope": {}}}, "random", "nope: no trainers plug-in named 'nope'"),
        ({"architectures": {}, "layout": TENSORS}, "ones", "--init: expected one of zeros, rand"),
        ({"architectures": MLP, "layout": TENSORS}, "zeros", "weights lack"),
        ({"architectures": {}, "layout": [{"name": "w"}]}, "zeros", "layout"),
    ],
)
def test_what_has_no_layout_here_is_refused(
    plain: dict[str, Any], init: Init, sentence: str
) -> None:
    """With what would work."""
    if "torch" in plain["architectures"]:
        pytest.importorskip("torch")
    with pytest.raises(FedbusError, match=sentence):
        empty_model("new", plain, {}, init)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "No such file"), ("{", "not a layout"), ("7", "expected a list of tensors")],
)
def test_a_file_without_a_layout_is_refused(
    content: str | None, sentence: str, tmp_path: Path
) -> None:
    """It says what belongs there."""
    path = tmp_path / "layout.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError, match=sentence):
        spec_of_layout(path)
