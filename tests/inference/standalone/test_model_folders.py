"""Folders of models on a disk: versions found, files changed, and what each is packed to."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import fedbus
from fedbus.cli.inputs.local_models import raw_inputs
from fedbus.errors import FedbusError, SettingsError
from fedbus_inference.standalone.local_model import LocalModel
from fedbus_inference.standalone.model_folders import MAX_FOLDER_FILES, scan_models
from fedbus_inference.standalone.packed_versions import pack_local_model, pack_version

DEMO = Path(str(fedbus.__file__)).parent / "demo_data"
FILES = Path(__file__).parents[2] / "fedbus/frameworks/model_files"
LATER = 2e9


def scan(folder: Path) -> dict[str, list[int | None]]:
    """Return the versions of each model."""
    found = scan_models(folder, lambda: LATER)
    return {model: [each.version for each in files] for model, files in found.versions.items()}


def copy(*names: str, to: Path) -> Path:
    """Copy files of the demo or of the model files; return the folder."""
    to.mkdir(parents=True, exist_ok=True)
    for name in names:
        source = DEMO / name if (DEMO / name).exists() else FILES / name
        shutil.copy(source, to / name)
    return to


def test_models_are_folders_files_and_folders_of_versions(tmp_path: Path) -> None:
    """Other entries are passed over, those that look like models with a reason."""
    copy("plain.tflite", to=tmp_path / "numbered/2")
    copy("plain.tflite", to=tmp_path / "numbered/10")
    copy("plain.tflite", to=tmp_path / "numbered/0")
    copy("plain.tflite", to=tmp_path / "one")
    copy("two.tflite", to=tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "bad name").mkdir()
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "next.tflite.part").write_text("")
    assert scan(tmp_path) == {"numbered": [2, 10], "one": [None], "two": [None]}
    found = scan_models(tmp_path, lambda: LATER)
    assert [each.version for each in found.versions["numbered"]] == [2, 10]
    assert found.passed_over["empty"] == "it has no file"
    assert "its name is not" in found.passed_over["bad name"]
    assert "notes.txt" not in found.passed_over


def test_two_entries_of_one_name_are_one_model(tmp_path: Path) -> None:
    """The second one is passed over."""
    copy("plain.tflite", to=tmp_path / "plain")
    copy("plain.tflite", to=tmp_path)
    found = scan_models(tmp_path, lambda: LATER)
    assert found.passed_over == {"plain.tflite": "there is another model plain"}


def test_each_change_of_a_file_changes_the_fingerprint(tmp_path: Path) -> None:
    """Its bytes, its time, and another file beside it."""

    def fingerprint() -> object:
        (files,) = scan_models(tmp_path, lambda: LATER).versions["one"]
        return files.fingerprint

    copy("plain.tflite", to=tmp_path / "one")
    seen = {fingerprint()}
    os.utime(tmp_path / "one/plain.tflite", (1, 1))
    seen.add(fingerprint())
    (tmp_path / "one/model.json").write_text("{}")
    seen.add(fingerprint())
    (tmp_path / "one/.lock").write_text("")
    assert len(seen) == 3
    assert fingerprint() in seen


def test_a_folder_of_too_many_files_is_passed_over(tmp_path: Path) -> None:
    """It is no model."""
    (tmp_path / "photos").mkdir()
    for number in range(MAX_FOLDER_FILES + 1):
        (tmp_path / f"photos/{number}").touch()
    found = scan_models(tmp_path, lambda: LATER)
    assert found.passed_over == {"photos": f"expected at most 256 files, got {257}"}
    with pytest.raises(FileNotFoundError):
        scan_models(tmp_path / "nothing", lambda: LATER)


def test_a_pushed_model_is_packed_with_its_weights_and_under_its_folder_s_name(
    tmp_path: Path,
) -> None:
    """As `fedbus models push` packs it."""
    folder = copy("model.json", "digits.tflite", to=tmp_path / "models/mine/3")
    initial = pack_local_model(folder)
    assert initial.push.model == "digits"
    spec = initial.spec()
    arrays = {each.name: np.ones(each.shape, each.dtype) for each in spec.layout}
    np.savez(folder / "weights.npz", **arrays)
    (files,) = scan_models(tmp_path / "models", lambda: LATER).versions["mine"]
    version = pack_version(files)
    assert version.packed.push.model == "mine"
    assert version.packed.push.weights != initial.push.weights
    np.savez(folder / "more.npz", **arrays)
    with pytest.raises(SettingsError, match="at most one file of weights"):
        pack_local_model(folder)


def test_a_single_file_is_a_model(tmp_path: Path) -> None:
    """Alone, or as the only one of a folder."""
    copy("plain.tflite", to=tmp_path)
    assert pack_local_model(tmp_path / "plain.tflite").push.model == "plain"
    assert pack_local_model(tmp_path, "other").push.model == "other"
    copy("two.tflite", to=tmp_path)
    with pytest.raises(SettingsError, match=r"one file with the suffix .tflite or .onnx, got 2"):
        pack_local_model(tmp_path)
    copy("model.json", "digits.tflite", to=tmp_path / "spec")
    assert pack_local_model(tmp_path / "spec/model.json").push.model == "digits"


@pytest.mark.parametrize("size", [0, 3, 100, 2000, 6000])
def test_half_a_file_is_refused(tmp_path: Path, size: int) -> None:
    """With a reason, at any byte."""
    torn = tmp_path / "torn.tflite"
    torn.write_bytes((FILES / "plain.tflite").read_bytes()[:size])
    with pytest.raises(FedbusError):
        pack_local_model(torn)


def test_assist_iot_s_configuration_is_read(tmp_path: Path) -> None:
    """The model's file beside it; what it asks for and this service lacks is refused."""
    folder = copy("plain.tflite", to=tmp_path / "base/1")
    stated = {"model_name": "fall", "model_version": "p2", "library": "tflite", "input_format": {}}
    (folder / "model.json").write_text(json.dumps(stated))
    (folder / "format.json").write_text('{"data_types": {"numerical": {"size": [64]}}}')
    (folder / "setup.json").write_text('{"inference": {"inferencer": "base"}}')
    (folder / "transformation_pipeline.json").write_text("[]")
    (folder / "postprocessing_pipeline.json").write_text("[]")
    packed = pack_local_model(folder)
    assert packed.push.model == "fall"
    assert pack_local_model(folder, "mine").push.model == "mine"
    (folder / "postprocessing_pipeline.json").write_text('[{"id": "argmax"}]')
    with pytest.raises(SettingsError, match="steps after the model are not supported"):
        pack_local_model(folder)
    (folder / "postprocessing_pipeline.json").write_text("{}")
    with pytest.raises(SettingsError, match="expected a list of steps"):
        pack_local_model(folder)
    (folder / "postprocessing_pipeline.json").unlink()
    copy("two.tflite", to=folder)
    with pytest.raises(SettingsError, match=r"expected one .tflite file beside model.json, got 2"):
        pack_local_model(folder)
    (folder / "model.json").write_text(json.dumps(stated | {"library": "keras"}))
    with pytest.raises(SettingsError, match="library: expected one of tflite, onnx, got 'keras'"):
        pack_local_model(folder)


def test_assist_iot_s_steps_before_the_model_are_applied(tmp_path: Path) -> None:
    """Raw readings are answered as scaled rows are; an unknown step is refused, not left out."""
    folder = copy("plain.tflite", to=tmp_path / "base")
    rows = np.arange(128, dtype=np.float32).reshape(2, 64) / 8
    plain = LocalModel(folder).answer(raw_inputs(rows / 16))
    (folder / "model.json").write_text('{"library": "tflite"}')
    steps = [{"id": "normalize", "parameters": {"high": 16}}]
    (folder / "transformation_pipeline.json").write_text(json.dumps(steps))
    answer = LocalModel(folder).answer(raw_inputs(rows))
    np.testing.assert_allclose(answer["outputs"], plain["outputs"], rtol=1e-5)
    (folder / "transformation_pipeline.json").write_text('[{"id": "no-such-step"}]')
    with pytest.raises(FedbusError, match="no-such-step"):
        LocalModel(folder)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A link to nothing, for example."""
    (tmp_path / "one").mkdir()
    (tmp_path / "one/model.json").symlink_to(tmp_path / "nothing")
    (tmp_path / "one/model.tflite").mkdir()
    with pytest.raises(FedbusError):
        pack_local_model(tmp_path / "one")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("{", "model.json: not JSON"), (" " * 2**21, "model.json: expected at most 1048576 bytes")],
)
def test_a_model_json_that_is_none_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    """With its name."""
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(SettingsError, match=sentence):
        pack_local_model(tmp_path)
