"""Third-party package with a trainer, a loader, a transform, a selector and a strategy."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.runtime.identity import Identity
from fedbus.runtime.settings import settings_from
from fedbus_edge_agent.app import build
from fedbus_edge_agent.settings import AgentSettings
from tests.system.fedbus_up import FEDBUS, FedbusUp

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "own_trainer"
MODEL, JOB = str(EXAMPLE / "model.json"), str(EXAMPLE / "job.json")
STRATEGY_JOB = EXAMPLE / "strategy_job.json"

pytest.importorskip("hatchling")
pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package from its sources into a folder."""
    folder = tmp_path_factory.mktemp("own")
    source, target = folder / "source", folder / "target"
    shutil.copytree(EXAMPLE, source)  # a build may leave things beside the sources
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--target")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, str(target), str(source)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return target


def tried(target: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the package on the path; it may fail."""
    environ = {**os.environ, "PYTHONPATH": str(target), "COLUMNS": "200"}
    return subprocess.run(
        [*FEDBUS, *words], check=False, capture_output=True, text=True, env=environ
    )


def run(target: Path, *words: str) -> str:
    """Run a command with the package on the path; return its output."""
    done = tried(target, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_is_wrong_with_it(target: Path) -> None:
    """Its plug-ins are listed, and each passes `fedbus plugins check`."""
    rows = [line.split() for line in run(target, "plugins").splitlines()]
    mine = [row for row in rows if "own-trainer" in row]
    assert [row[:2] for row in mine] == [
        ["trainers", "softmax"],
        ["loaders", "pixels"],
        ["transforms", "contrast"],
        ["strategies", "middle-ball"],
        ["aggregators", "equal-norms"],
        ["aggregators", "middle-share"],
        ["server_optimizers", "heavy-ball"],
        ["update_transforms", "norm-limit"],
        ["selectors", "rested"],
    ]
    assert {" ".join(row[5:]) for row in mine} == {"ok where FEDBUS_PLUGINS allows it"}
    config = '{"inputs": 64, "classes": 10}'
    said = run(target, "plugins", "check", "softmax", "--config", config)
    assert "initial: 2 arrays, 650 numbers" in said
    assert "evaluate: loss" in said
    assert "format: image 8 x 8 x 3" in run(target, "plugins", "check", "contrast")
    assert "selected 5 of 10" in run(target, "plugins", "check", "rested")
    shared = run(target, "plugins", "check", "middle-share", "--config", '{"share": 0.6}')
    assert "7 updates of zeros" in shared
    assert "7 updates of zeros" in run(target, "plugins", "check", "equal-norms")
    assert "state velocity" in run(target, "plugins", "check", "middle-ball")
    assert "became one of norm 0.1" in run(
        target, "plugins", "check", "norm-limit", "--config", '{"most": 0.1}'
    )


def test_it_is_simulated(target: Path) -> None:
    """Without a broker; its model learns the digits."""
    said = run(target, "simulate", JOB, "--model", MODEL, "--agents", "3")
    assert "job softmax-1 finished: all 5 rounds are done" in said
    assert float(said.split("accuracy ")[-1].split(" %")[0]) > 80


STRATEGIES: Mapping[str, Any] = {
    "as it is": None,
    "weigher": "equal-norms",
    "preset": {"id": "middle-ball", "parameters": {"share": 0.4, "momentum": 0.2}},
}


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES.keys())
def test_its_strategies_are_simulated(target: Path, tmp_path: Path, strategy: object) -> None:
    """With their parameters; the model learns the digits with each."""
    job = json.loads(STRATEGY_JOB.read_text())
    job["strategy"] = strategy or job["strategy"]
    (tmp_path / "job.json").write_text(json.dumps(job))
    words = ("simulate", str(tmp_path / "job.json"), "--model", MODEL, "--agents", "5", "--json")
    ended = json.loads(run(target, *words))
    assert ended["phase"] == "finished"
    assert ended["metrics"]["accuracy"] > 0.8


def test_a_wrong_parameter_of_its_strategy_is_refused(target: Path, tmp_path: Path) -> None:
    """With the key in the job file, and what the class says."""
    job = json.loads(STRATEGY_JOB.read_text())
    job["strategy"]["aggregator"]["parameters"]["share"] = 1.5
    (tmp_path / "job.json").write_text(json.dumps(job))
    refused = tried(
        target, "simulate", str(tmp_path / "job.json"), "--model", MODEL, "--agents", "5"
    )
    assert refused.returncode != 0
    assert "strategy.aggregator.parameters.share" in refused.stderr
    assert "expected a number above 0 and at most 1, got 1.5" in refused.stderr


def test_a_job_chooses_the_loader_too(target: Path, tmp_path: Path) -> None:
    """Agents train on files that only the package's loader reads."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    rows = np.hstack([digits.data, digits.target[:, None]])
    for number in range(3):
        np.savetxt(tmp_path / f"agent.{number}.digits", rows[number:1500:3], delimiter=",")
    np.savetxt(tmp_path / "held_out.digits", rows[1500:], delimiter=",")
    job = json.loads(Path(JOB).read_text())
    job["plugins"]["loader"] = "pixels"
    job["round"]["quorum"] = 3
    (tmp_path / "job.json").write_text(json.dumps(job))
    words = ["simulate", str(tmp_path / "job.json"), "--model", MODEL, "--data", str(tmp_path)]
    ended = json.loads(run(target, *words, "--json"))
    assert ended["phase"] == "finished"
    assert ended["metrics"]["accuracy"] > 0.8
    assert {each["examples"] for each in ended["rounds"]} == {1500}
    lacking = tried(target, *words[:-2])
    assert lacking.returncode == 2
    assert "the job's loader 'pixels' reads files: name their folder with --data" in lacking.stderr


def test_an_agent_reads_its_data_with_its_loader(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner's settings name the loader; no other permission is needed."""
    rows = np.hstack([np.full((5, 64), 16), np.arange(5)[:, None]])
    np.savetxt(tmp_path / "digits.csv", rows, delimiter=",")
    monkeypatch.syspath_prepend(str(target))
    data = str(tmp_path / "digits.csv")
    assert "5 examples" in run(target, "plugins", "check", "pixels", "--data", data)
    environ = {"FEDBUS_DATA": data, "FEDBUS_LOADER": "pixels", "FEDBUS_HOME": str(tmp_path)}
    identity = Identity(name="agent.1", incarnation=1)
    built = build(settings_from(environ, AgentSettings), identity)
    assert built.core is not None


@pytest.mark.system
def test_real_agents_train_with_it(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings of these agents allow the package."""
    pytest.importorskip("tflite_runtime")
    monkeypatch.setenv("PYTHONPATH", str(target))
    with FedbusUp(tmp_path, "--agents", "3", environ={"FEDBUS_PLUGINS": "own-trainer"}) as cluster:
        pushed = cluster.run("models", "push", MODEL)
        assert pushed.returncode == 0, pushed.stderr
        watched = cluster.run("job", "submit", JOB, "--watch")
        assert watched.returncode == 0, watched.stdout + watched.stderr
        assert "job softmax-1 finished" in watched.stdout
        assert cluster.run_json("job", "show", "softmax-1")["metrics"]["accuracy"] > 0.8
        job = json.loads(STRATEGY_JOB.read_text())
        job["round"]["agents"] = 3
        (tmp_path / "strategy_job.json").write_text(json.dumps(job))
        watched = cluster.run("job", "submit", str(tmp_path / "strategy_job.json"), "--watch")
        assert watched.returncode == 0, watched.stdout + watched.stderr
        assert "job softmax-robust-1 finished" in watched.stdout
        cluster.interrupt()


@pytest.mark.system
def test_a_cluster_that_does_not_allow_it_refuses_the_job(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the plug-in and the setting that allows it."""
    pytest.importorskip("tflite_runtime")
    monkeypatch.setenv("PYTHONPATH", str(target))
    with FedbusUp(tmp_path, "--agents", "1") as cluster:
        assert cluster.run("models", "push", MODEL).returncode == 0
        refused = cluster.run("job", "submit", JOB, "--watch")
        assert refused.returncode == 4
        assert "selectors plug-in 'rested' of own-trainer is not allowed here" in refused.stderr
        assert "FEDBUS_PLUGINS=rested allows it" in refused.stderr
        cluster.interrupt()
