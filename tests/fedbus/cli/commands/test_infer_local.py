"""`fedbus infer --local`: a model of a file or folder, run in the process of the command."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fedbus
from fedbus.cli.inputs import local_models
from fedbus.cli.inputs.local_models import load_local_model, raw_inputs
from fedbus.errors import SettingsError
from fedbus_inference.standalone.local_model import LocalModel

DEMO = Path(str(fedbus.__file__)).parent / "demo_data"
FILES = Path(__file__).parents[2] / "frameworks/model_files"
PLAIN = FILES / "plain.tflite"
ROWS = np.random.default_rng(3).random((3, 64), np.float32)


def infer(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Call the command."""
    command = [sys.executable, "-m", "fedbus.cli", "infer", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Write rows as an array."""
    np.save(tmp_path / "x.npy", ROWS)
    return tmp_path / "x.npy"


def test_a_model_file_answers_without_a_broker(rows: Path, tmp_path: Path) -> None:
    """Arrays, JSON and tables have the same answer, to read or as JSON."""
    (tmp_path / "x.json").write_text(json.dumps(ROWS.tolist()))
    np.savetxt(tmp_path / "x.csv", ROWS, delimiter=",")
    answers = []
    for file in (rows, tmp_path / "x.json", tmp_path / "x.csv"):
        done = infer("--local", PLAIN, "--input", file, "--json")
        assert done.returncode == 0, done.stderr
        answers.append(json.loads(done.stdout))
    assert answers[0]["model"] == "plain"
    classes = np.argmax(answers[0]["outputs"], axis=1).tolist()
    assert answers[0]["classes"] == classes
    for other in answers[1:]:
        np.testing.assert_allclose(other["outputs"], answers[0]["outputs"], rtol=1e-5)
    told = infer("--local", PLAIN, rows)
    assert f"1  {classes[0]}  (" in told.stdout


def test_a_model_file_in_place_of_a_name_is_answered_with_the_option(rows: Path) -> None:
    """Before a broker is looked for."""
    done = infer(PLAIN, rows)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"fedbus infer --local {PLAIN} --input {rows}" in " ".join(done.stderr.split())


def test_the_newest_version_of_a_folder_answers(tmp_path: Path) -> None:
    """As the service takes it from the same folder."""
    for version in ("1", "2", "10"):
        made = tmp_path / version
        made.mkdir()
        for name in ("model.json", "digits.tflite"):
            (made / name).write_bytes((DEMO / name).read_bytes())
    model = LocalModel(tmp_path)
    answer = model.answer(raw_inputs(ROWS))
    assert (answer["model"], answer["version"]) == ("digits", 10)
    assert np.shape(answer["outputs"]) == (3, 10)
    assert model.warnings == ()


def test_named_inputs_are_given_by_name() -> None:
    """Each as an array or as lists."""
    model = LocalModel(FILES / "two.tflite")
    named = {
        name: np.ones((2, *stated["shape"]), stated["dtype"])
        for name, stated in model.spec.input["inputs"].items()
    }
    by_arrays = model.answer(raw_inputs(named))
    by_lists = model.answer({name: array.tolist() for name, array in named.items()})
    assert by_arrays == by_lists


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--local", "nothing.tflite", "ROWS"), "there is no file or folder nothing.tflite"),
        (("--local", PLAIN), "expected inputs for the model, as --input FILE"),
        (("--local", PLAIN, "ROWS", "ROWS"), "expected images or a single file"),
        (("--local", FILES / "two.tflite", "ROWS"), "expected a map with one array for each of"),
        (("--local", "TORN", "ROWS"), "not a whole .tflite file"),
        (("--local", "EMPTY", "ROWS"), "expected model.json, or one file with the suffix"),
        ((), "expected MODEL and FILE; or --local PATH"),
        (("digits",), "expected MODEL and FILE; or --local PATH"),
    ],
)
def test_what_cannot_be_answered_ends_with_a_sentence(
    rows: Path, tmp_path: Path, arguments: tuple[object, ...], sentence: str
) -> None:
    """And an exit code that is not 0."""
    torn = tmp_path / "torn.tflite"
    torn.write_bytes(PLAIN.read_bytes()[:3000])
    (tmp_path / "empty").mkdir()
    places = {"ROWS": rows, "TORN": torn, "EMPTY": tmp_path / "empty"}
    done = infer(*(places.get(str(each), each) for each in arguments))
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_service_s_package_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The library imports no service."""
    monkeypatch.setattr(local_models, "GROUP", "fedbus.nothing")
    with pytest.raises(SettingsError, match=r"pip install 'fedbus-inference\[tflite\]'"):
        load_local_model(PLAIN)
