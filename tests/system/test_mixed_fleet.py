"""Job with agents of three frameworks that train one model."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fedbus import demo_data
from fedbus.cluster.process import die_with_parent_prefix
from fedbus.data.digits import write_digits
from tests.system.fedbus_up import FedbusUp, digits_job, until

FRAMEWORKS = {"1": "tflite", "2": "keras", "3": "torch"}

pytestmark = pytest.mark.system

pytest.importorskip("tflite_runtime")
pytest.importorskip("torch")
pytest.importorskip("tensorflow")
pytest.importorskip("sklearn")


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FedbusUp]:
    """Start a cluster with one agent, and two more processes beside it, as on other machines."""
    data = tmp_path / "data"
    data.mkdir()
    write_digits(data, len(FRAMEWORKS))
    with ExitStack() as stack:
        up = FedbusUp(
            tmp_path, "--data", str(data), "--agents", "1", "--framework", "tflite", "--open"
        )
        stack.enter_context(up)
        broker = up.run_json("env")["FEDBUS_BROKER"]
        for name in ("2", "3"):
            process = stack.enter_context(started(tmp_path, name, broker))
            stack.callback(process.kill)
        until("all are online", lambda: len(trainers(up)) == len(FRAMEWORKS))
        yield up
        up.interrupt()


def started(folder: Path, name: str, broker: str) -> "subprocess.Popen[bytes]":
    """Start an agent with its own framework."""
    environ = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "FEDBUS_BROKER": broker,
        "FEDBUS_OPEN": "true",
        "FEDBUS_NAME": name,
        "FEDBUS_TRAINER": FRAMEWORKS[name],
        "FEDBUS_DATA": str(folder / "data" / f"agent.{name}.npz"),
        "FEDBUS_HOME": str(folder / "more"),
    }
    line = [*die_with_parent_prefix(), sys.executable, "-m", "fedbus_edge_agent"]
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(line, env=environ, stdout=log, stderr=log)


def trainers(up: FedbusUp) -> list[str]:
    """Name the agents that are online and train."""
    return [each["node"] for each in up.run_json("agents") if "train" in each["agent"]["roles"]]


def test_agents_of_three_frameworks_train_one_model(fleet: FedbusUp, tmp_path: Path) -> None:
    """No update is missing in any round, and the model learns."""
    (tmp_path / "model.json").write_bytes(demo_data.read("model.json"))
    (tmp_path / "digits.tflite").write_bytes(demo_data.read("digits.tflite"))
    pushed = fleet.run("models", "push", str(tmp_path / "model.json"))
    assert pushed.returncode == 0, pushed.stderr
    round_ = {"agents": 3, "quorum": 3, "deadline_seconds": 60}
    file = fleet.write("job.json", digits_job("mixed", num_rounds=4, round=round_))
    watched = fleet.run("job", "submit", file, "--watch")
    assert watched.returncode == 0, watched.stdout + watched.stderr
    shown = fleet.run_json("job", "show", "mixed")
    assert shown["round"] == 4
    assert shown["metrics"]["accuracy"] > 0.6
