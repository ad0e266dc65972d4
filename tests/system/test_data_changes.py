"""Changed data of a running agent: it announces them, and trains on them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus import demo_data
from tests.system.fedbus_up import FedbusUp, digits_job, until

pytestmark = pytest.mark.system


def shard(file: Path, rows: int) -> None:
    """Write a shard beside the old one and rename it, so that no process reads a part."""
    rng = np.random.default_rng(rows)
    x = rng.uniform(0, 1, (rows, 64)).astype(np.float32)
    new = file.with_name(f".{file.name}")
    np.savez(new, x=x, y=np.arange(rows) % 10)
    new.rename(file)


def test_data_that_change_are_announced_and_trained_upon(tmp_path: Path) -> None:
    """The data change between two jobs; an agent with unchanged data announces the same number."""
    pytest.importorskip("tflite_runtime")
    data = tmp_path / "data"
    data.mkdir()
    for name, rows in (("agent.kitchen", 60), ("agent.cellar", 40), ("held_out", 20)):
        shard(data / f"{name}.npz", rows)
    for name in ("model.json", "digits.tflite"):
        (tmp_path / name).write_bytes(demo_data.read(name))
    with FedbusUp(tmp_path, "--data", str(data)) as cluster:
        assert cluster.run("models", "push", "model.json").returncode == 0

        def announced() -> dict[str, Any]:
            agents = cluster.run_json("agents")
            return {each["node"]: each["agent"]["examples"] for each in agents}

        def trained(job: str) -> set[str]:
            round_ = {"agents": 2, "quorum": 2, "deadline_seconds": 60}
            file = cluster.write("job.json", digits_job(job, round=round_))
            watched = cluster.run("job", "submit", file, "--watch")
            assert watched.returncode == 0, watched.stdout + watched.stderr
            lines = (line for line in watched.stdout.splitlines() if "2 agents, " in line)
            return {line.split("2 agents, ")[1].split(" examples")[0] for line in lines}

        assert announced() == {"agent.kitchen": 60, "agent.cellar": 40, "agent.evaluator": 20}
        assert trained("before") == {"100"}
        shard(data / "agent.kitchen.npz", 75)
        until("the kitchen announces 75", lambda: announced()["agent.kitchen"] == 75)
        assert announced() == {"agent.kitchen": 75, "agent.cellar": 40, "agent.evaluator": 20}
        assert trained("after") == {"115"}
        assert cluster.interrupt() == 0
