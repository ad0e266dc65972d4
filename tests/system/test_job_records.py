"""Files, results and configurations of jobs, and exported models, with real processes."""

import json
from collections.abc import Iterator

import numpy as np
import pytest

from fedbus.cli.exit_codes import OK, REFUSED, USAGE
from tests.system.fedbus_up import FedbusUp, digits_job

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FedbusUp]:
    """A cluster in which a job has ended."""
    pytest.importorskip("sklearn")
    pytest.importorskip("tflite_runtime")
    with FedbusUp(tmp_path_factory.mktemp("up"), "--agents", "2") as cluster:
        job = cluster.write("job.json", digits_job("first"))
        assert cluster.run("job", "submit", job, "--watch").returncode == OK
        yield cluster


def test_a_job_file_comes_back_as_it_was_sent(up: FedbusUp) -> None:
    """Byte for byte, also into a file; a job that is not there is named."""
    assert up.run_to("shown.json", "job", "file", "first") == OK
    sent = (up.folder / "job.json").read_bytes()
    assert (up.folder / "shown.json").read_bytes() == sent
    said = up.run_json("job", "file", "first", "-o", "copy.json")
    assert (up.folder / "copy.json").read_bytes() == sent
    assert said["file"] == json.loads(sent)
    refused = up.run("job", "file", "nope")
    assert (refused.returncode, "no job named 'nope'" in refused.stderr) == (REFUSED, True)


def test_a_result_has_the_metrics_of_all_rounds(up: FedbusUp) -> None:
    """As the job's own state and the history of its model have them."""
    state = up.run_json("job", "show", "first")
    record = up.run_json("job", "result", "first")
    results = record["results"]
    assert (record["model_name"], record["model_version"]) == ("digits", state["version"])
    assert results["metrics"] == state["metrics"]
    assert [each["round"] for each in results["history"]] == [1, 2]
    assert [each["metrics"] for each in results["history"]] == [
        each["metrics"] for each in state["rounds"]
    ]
    assert results["strategy"]["id"] == "fedavg"
    shown = up.run("job", "result", "first", "--last", "1").stdout
    assert f"configuration  {record['configuration_id']}" in shown
    assert "round   2" in shown
    assert "1 earlier round; `--last 2` shows all" in shown
    assert "traffic    updates " in up.run("job", "show", "first").stdout
    listed = up.run_json("job", "results", "--model", "digits")
    assert record["configuration_id"] in {each["configuration_id"] for each in listed}
    assert record["configuration_id"] in up.run("job", "results", "--model", "digits").stdout


def test_a_configuration_is_run_again(up: FedbusUp) -> None:
    """Under a new id; it is then the configuration of both jobs."""
    added = up.run_json("configurations", "add", "job.json")
    assert added["known"]
    name = added["configuration_id"]
    shown = up.run_json("configurations", "show", name)
    assert "training_id" not in shown["file"]
    ended = up.run("job", "submit", "--configuration", name, "--id", "second", "--watch")
    assert ended.returncode == OK, ended.stderr
    assert up.run_json("job", "file", "second")["configuration_id"] == name
    other = up.write("other.json", digits_job("third", num_rounds=9))
    assert "is stored" in up.run("configurations", "add", other).stdout
    listed = up.run_json("configurations", "list", "--model", "digits")
    assert [each["number"] for each in listed] == [1, 2]
    assert listed[0]["configuration_id"] == name
    assert up.run("configurations", "show", "nope").returncode == REFUSED
    for words in (("--configuration", name, "job.json"), (), ("--configuration", name, "--again")):
        assert up.run("job", "submit", *words).returncode == USAGE


def test_a_trained_model_is_exported_as_onnx(up: FedbusUp) -> None:
    """Its file says which job made it, and answers as the inference service does."""
    onnx_file = pytest.importorskip("fedbus.frameworks.onnx_file")
    pytest.importorskip("torch")
    pulled = up.run_json("models", "pull", "digits", "-o", "digits.onnx")
    file = (up.folder / "digits.onnx").read_bytes()
    about = onnx_file.read_metadata(file)
    assert (about["model"], about["version"]) == ("digits", str(pulled["version"]))
    assert about["job"] in {"first", "second"}
    with np.load(up.home / "data" / "held_out.npz", allow_pickle=False) as shard:
        x, y = shard["x"][:40].astype(np.float32), shard["y"][:40]
    assert np.mean(onnx_file.run(file, x).argmax(axis=1) == y) > 0.5
    assert up.run("models", "push", "digits.onnx", "--name", "served").returncode == OK
    again = up.run_json("models", "pull", "served")
    assert again["file"] == "served-v1.onnx"
    assert (up.folder / "served-v1.onnx").read_bytes() == file


def test_an_empty_model_is_created_and_trained(up: FedbusUp) -> None:
    """Of the same spec as another one; of an architecture; a name that is taken is refused."""
    made = up.run_json("models", "create-empty", "second", "--like", "digits", "--init", "random")
    assert (made["model"], made["version"]) == ("second", 1)
    spec, other = (up.run_json("models", "show", name) for name in ("second", "digits"))
    assert spec["answers"] == other["answers"]
    job = up.write("trained.json", digits_job("trained", model_name="second"))
    assert up.run("job", "submit", job, "--watch").returncode == OK
    assert up.run_json("job", "result", "trained")["results"]["metrics"]["accuracy"] > 0.3
    taken = up.run("models", "create-empty", "second", "--like", "digits")
    assert taken.returncode == REFUSED
    assert "model second exists" in taken.stderr
    mlp = 'torch={"name": "mlp", "config": {"layers": [64, 32, 10]}}'
    empty = up.run("models", "create-empty", "third", "--architecture", mlp, "--input", "64")
    assert empty.returncode == OK, empty.stderr
    assert "all weights are 0" in empty.stderr
    for words in ((), ("--like", "digits", "--layout", "x"), ("--architecture", "torch=7")):
        assert up.run("models", "create-empty", "fourth", *words).returncode == USAGE
