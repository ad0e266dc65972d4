"""Jobs with compressed updates and versions, on agents of two frameworks that really train."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.cluster.process import die_with_parent_prefix
from fedbus.data.digits import write_digits
from tests.system.fedbus_up import FedbusUp, digits_job, until

pytestmark = pytest.mark.system

pytest.importorskip("tflite_runtime")
pytest.importorskip("torch")
pytest.importorskip("tensorflow")
pytest.importorskip("sklearn")
pytest.importorskip("zstandard")

FRAMEWORKS = {"1": "tflite", "2": "tflite", "3": "torch"}
NUMBERS = 64 * 1300 + 1300 + 1300 * 10 + 10
CHAIN_KB = 8_000
"""Most resident memory that compression takes beside a training, of a model of 0.4 MB."""
AGENT_KB = 68 * 1024
"""Most memory that an agent with TFLite has for itself; libraries come to 22 to 32 MiB beside."""
CHAIN = [
    {"id": "top-k", "parameters": {"fraction": 0.1}},
    {"id": "quantize", "parameters": {"bits": 4}},
    "zstandard",
]
DOWN = [{"id": "quantize", "parameters": {"bits": 8}}, "zstandard"]
OTHER_CHAINS: dict[str, dict[str, Any]] = {
    "cast": {"transmitter": ["cast"], "download": ["cast"]},
    "random": {
        "transmitter": [{"id": "random-k", "parameters": {"fraction": 0.3}}, "quantize"],
        "download": DOWN,
    },
    "packed": {
        "transmitter": [{"id": "zstandard", "parameters": {"level": 19}}],
        "download": [{"id": "zstandard", "parameters": {"level": 19}}],
    },
    "all": {
        "transmitter": [
            {"id": "top-k", "parameters": {"fraction": 0.5}},
            {"id": "quantize", "parameters": {"block": 0}},
            {"id": "zstandard", "parameters": {"level": 19}},
        ],
        "download": [{"id": "quantize", "parameters": {"bits": 4}}],
    },
}
BUILD = """
import importlib.util, json, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("build_model", sys.argv[1])
built = importlib.util.module_from_spec(spec)
spec.loader.exec_module(built)
built.LAYERS = (64, 1300, 10)
model = built.Digits()
file = built.convert(model)
Path(sys.argv[2], "digits.tflite").write_bytes(file)
Path(sys.argv[2], "model.json").write_text(json.dumps(built.spec(model, file)))
"""
EXAMPLE = Path(__file__).parents[2] / "examples/digits/build_model.py"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FedbusUp]:
    """Start a cluster with one agent, and push a model of 98,000 numbers."""
    data = tmp_path / "data"
    data.mkdir()
    write_digits(data, len(FRAMEWORKS))
    line = [sys.executable, "-c", BUILD, str(EXAMPLE), str(tmp_path)]
    subprocess.run(line, check=True, capture_output=True)
    options = ("--data", str(data), "--agents", "1", "--framework", "tflite", "--open")
    with FedbusUp(tmp_path, *options) as up:
        pushed = up.run("models", "push", str(tmp_path / "model.json"))
        assert pushed.returncode == 0, pushed.stderr
        yield up
        up.interrupt()


@pytest.fixture
def others(fleet: FedbusUp) -> Iterator[dict[str, "subprocess.Popen[bytes]"]]:
    """Start two more agents, as on other machines; a test may replace their processes."""
    with ExitStack() as stack:
        made = {name: started(fleet, name) for name in ("2", "3")}
        stack.callback(killed, made)
        until("all are online", lambda: len(trainers(fleet)) == len(FRAMEWORKS))
        yield made


def killed(processes: dict[str, "subprocess.Popen[bytes]"]) -> None:
    """End the processes that are left."""
    for process in processes.values():
        process.kill()
        process.wait()


def started(fleet: FedbusUp, name: str) -> "subprocess.Popen[bytes]":
    """Start an agent with its own framework."""
    folder = fleet.folder
    environ = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "FEDBUS_BROKER": fleet.run_json("env")["FEDBUS_BROKER"],
        "FEDBUS_OPEN": "true",
        "FEDBUS_NAME": name,
        "FEDBUS_TRAINER": FRAMEWORKS[name],
        "FEDBUS_DATA": str(folder / "data" / f"agent.{name}.npz"),
        "FEDBUS_HOME": str(folder / "more"),
    }
    line = [*die_with_parent_prefix(), sys.executable, "-m", "fedbus_edge_agent"]
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(line, env=environ, stdout=log, stderr=log)


def trainers(up: FedbusUp) -> list[str]:
    """Name the agents that are online and train."""
    return [each["node"] for each in up.run_json("agents") if "train" in each["agent"]["roles"]]


def job(name: str, **changes: object) -> dict[str, object]:
    """Return a job that waits for all three agents."""
    round_ = {"agents": 3, "quorum": 3, "deadline_seconds": 60}
    return digits_job(name, round=round_, strategy={"id": "fedavg"}, **changes)


def finished(fleet: FedbusUp, name: str, **changes: object) -> Any:  # noqa: ANN401 - a state
    """Run a job to its end, and return its state."""
    watched = fleet.run(
        "job", "submit", fleet.write(f"{name}.json", job(name, **changes)), "--watch"
    )
    assert watched.returncode == 0, watched.stdout + watched.stderr
    return fleet.run_json("job", "show", name)


def peak_kb(process: "subprocess.Popen[bytes]") -> int:
    """Return the most memory that a process has had for itself, in KiB.

    Pages of files, such as those of libraries, are left out: the kernel maps as many as it has in
    its cache, 6 MiB more after an installation than later.
    """
    status = (Path("/proc") / str(process.pid) / "status").read_text()
    kb = dict(line.split()[:2] for line in status.splitlines() if line.endswith("kB"))
    return int(kb["VmHWM:"]) - int(kb["RssFile:"])


def residual_round(fleet: FedbusUp, name: str) -> int:
    """Return the round of the residual that the second agent has adopted for a job; 0: none."""
    for path in (fleet.folder / "more").rglob(f"residuals/{name}.own"):
        with np.load(path) as arrays:
            return int(arrays["fedbus:task"][0])
    return 0


def events(fleet: FedbusUp, name: str) -> str:
    """Return the log of an agent that the test has started."""
    return (fleet.folder / f"{name}.log").read_text(encoding="utf-8")


def test_two_frameworks_send_a_thirtieth_and_learn_as_much(
    fleet: FedbusUp, others: dict[str, "subprocess.Popen[bytes]"]
) -> None:
    """One agent is killed, and continues with the residual that it had."""
    plain = finished(fleet, "plain", num_rounds=8)
    small = job("small", num_rounds=8, transmitter=CHAIN, download=DOWN)
    submitted = fleet.run("job", "submit", fleet.write("small.json", small))
    assert submitted.returncode == 0, submitted.stderr
    until(
        "a residual is kept", lambda: fleet.round("small") >= 2 and residual_round(fleet, "small")
    )
    others["2"].kill()
    others["2"].wait()
    kept = residual_round(fleet, "small")
    assert kept
    others["2"] = started(fleet, "2")
    until("the residual is sent", lambda: residual_round(fleet, "small") > kept, 90.0)
    done = fleet.run("job", "watch", "small")
    assert done.returncode == 0, done.stdout + done.stderr
    shown = fleet.run_json("job", "show", "small")
    assert shown["round"] == 8
    assert shown["metrics"]["accuracy"] > plain["metrics"]["accuracy"] - 0.05 > 0.6
    for name in ("2", "3"):
        assert "residual_lost" not in events(fleet, name)
        assert "residual_reset" not in events(fleet, name)
    until("the residuals of the job are removed", lambda: not residual_round(fleet, "small"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_an_agent_with_tflite_needs_little_memory_with_every_chain(
    fleet: FedbusUp, others: dict[str, "subprocess.Popen[bytes]"]
) -> None:
    """Also with the greatest level of zstandard, whose tables are cut to 3 MiB."""
    finished(fleet, "plain")
    plain, peaks = peak_kb(others["2"]), {}
    for name, chains in {"first": {"transmitter": CHAIN, "download": DOWN}, **OTHER_CHAINS}.items():
        assert finished(fleet, name, **chains)["round"] == 2
        peaks[name] = peak_kb(others["2"])
    assert max(peaks.values()) < AGENT_KB, (plain, peaks)
    assert max(peaks.values()) - plain < CHAIN_KB, (plain, peaks)
