"""Failing training by a third-party trainer: its reason is reported, other agents continue."""

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.plugin_package import Install
from tests.system.fedbus_up import FEDBUS
from tests.system.process_cluster import JOB, Plan, ProcessCluster

pytestmark = pytest.mark.system

AGENT = "agent.theirs"
BATCH_SECONDS = 0.2
RAISED = '"event": "run_failed"'
ENTRIES = """
[fedbus.trainers]
raises = their_trainers:Raises
diverges = their_trainers:Diverges
hangs = their_trainers:Hangs
slow = their_trainers:Slow
"""
SOURCE = f"""
import os
import time
from pathlib import Path

from fedbus import Update


class Raises:
    def __init__(self, architecture):
        self.batches = Path(os.environ["BATCHES"])

    def initial(self):
        raise NotImplementedError

    def train(self, weights, data, params):
        for x, y in data.steps(params):
            self.batch(x)
        return Update(weights, data.examples, {{}})

    def batch(self, x):
        raise ZeroDivisionError(f"a batch of {{len(x)}}")


class Diverges(Raises):
    def train(self, weights, data, params):
        return Update({{n: w * float("nan") for n, w in weights.items()}}, data.examples, {{}})


class Hangs(Raises):
    def batch(self, x):
        while True:
            time.sleep(0.05)


class Slow(Raises):
    def train(self, weights, data, params):
        self.write("began")
        try:
            return super().train(weights, data, params)
        finally:
            self.write("ended")

    def batch(self, x):
        time.sleep({BATCH_SECONDS})
        self.write("batch")

    def write(self, what):
        with self.batches.open("a") as file:
            file.write(f"{{what}} {{time.monotonic()}}\\n")
"""
LINES = SOURCE.splitlines()


def line(words: str) -> int:
    """Return the first line of the package with these words."""
    return next(number for number, said in enumerate(LINES, 1) if words in said)


@pytest.fixture
def folder(install: Install, tmp_path: Path) -> Path:
    """Install the package, and write rows for the agent."""
    install("their_trainers", ENTRIES, SOURCE)
    np.savez(tmp_path / "rows.npz", x=np.ones((1000, 4), np.float32), y=np.zeros(1000, np.int64))
    return tmp_path


def plan(
    folder: Path, monkeypatch: pytest.MonkeyPatch, trainer: str, agents: int, **settings: str
) -> Plan:
    """Plan light agents, and one real agent that trains with the third-party package."""
    monkeypatch.setenv("PYTHONPATH", str(folder / "their_trainers"))
    monkeypatch.setenv("BATCHES", str(folder / "batches"))
    theirs = {
        "data": str(folder / "rows.npz"),
        "trainer": trainer,
        "plugins": "their_trainers",
        **settings,
    }
    architectures: dict[str, dict[str, str]] = {"light": {"name": "none"}, trainer: {}}
    return Plan(
        seed=1, agents=agents, numbers=1000, shipped={AGENT: theirs}, architectures=architectures
    )


@pytest.mark.parametrize(
    ("trainer", "reason"),
    [
        (
            "raises",
            f"ZeroDivisionError: a batch of 32 (their_trainers.py:{line('raise Zero')} in batch)",
        ),
        ("diverges", "'b' is not finite after training"),
    ],
)
async def test_a_round_goes_on_without_an_agent_whose_training_failed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, trainer: str, reason: str
) -> None:
    """The round's record has the reason; the agent is asked again in the next round."""
    async with ProcessCluster(folder, plan(folder, monkeypatch, trainer, agents=2)) as cluster:
        await cluster.submit(rounds=2)
        await cluster.finish(rounds=2, allowed=(RAISED,))
        for number in (1, 2):
            record = cluster.rounds[JOB, number]
            assert set(record.contributors) == {"agent.a0", "agent.a1"}
            assert list(record.refusals) == [AGENT]
            assert reason in record.refusals[AGENT]
            assert record.seconds["collected"] < 5


async def test_a_job_that_needs_such_an_agent_fails_with_its_reason(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason is not only the number of missing updates."""
    async with ProcessCluster(folder, plan(folder, monkeypatch, "raises", agents=1)) as cluster:
        await cluster.submit(rounds=2)
        await cluster.finish(rounds=2, phase="failed", allowed=(RAISED,))
        reason = f"ZeroDivisionError: a batch of 32 (their_trainers.py:{line('raise Zero')} in"
        assert reason in cluster.state().reason


async def test_an_agent_whose_training_hangs_says_where_and_leaves(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With exit code 75, so that its supervisor starts it again."""
    hanging = plan(folder, monkeypatch, "hangs", agents=2, stall_seconds="1")
    async with ProcessCluster(folder, hanging) as cluster:
        await cluster.submit(rounds=1)
        await cluster.until("it leaves", lambda: cluster.processes[AGENT].exit_code is not None, 15)
        assert cluster.processes[AGENT].exit_code == 75
        await cluster.finish(rounds=1, allowed=("service_quits", "training hangs"))
        refusals = cluster.rounds[JOB, 1].refusals
        place = f"(their_trainers.py:{line('time.sleep(0.05)')} in batch)"
        assert refusals == {AGENT: f"training hangs: no batch for 1 s {place}"}


async def test_a_cancelled_job_frees_its_agent_within_a_batch(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `fedbus job cancel` the next job is trained at once."""
    slow = plan(folder, monkeypatch, "slow", agents=0)
    async with ProcessCluster(folder, replace(slow, accounts=("user.cli",))) as cluster:
        await cluster.submit(rounds=1, quorum=1)
        await cluster.until("it trains", lambda: len(times(folder, "batch")) > 1)
        told = time.monotonic()
        await command(cluster, "job", "cancel", JOB)
        await cluster.until("it has stopped", lambda: times(folder, "ended"), 5)
        assert times(folder, "ended")[0] - times(folder, "batch")[-1] < 2 * BATCH_SECONDS
        await cluster.until("it is cancelled", cluster.ended, 5)
        heard = time.monotonic()
        assert times(folder, "ended")[0] < heard + 2 * BATCH_SECONDS
        assert len(times(folder, "batch")) < 2 + (heard - told) / BATCH_SECONDS + 2
        assert cluster.state().phase == "cancelled"
        await cluster.submit(rounds=1, job="job-2", quorum=1)
        await cluster.until(
            "it trains for the next job", lambda: len(times(folder, "began")) > 1, 5
        )
        await cluster.cancel("job-2")
        await cluster.finish(job="job-2", phase="cancelled")


def times(folder: Path, what: str) -> list[float]:
    """Read the times at which the slow trainer recorded this event."""
    file = folder / "batches"
    lines = file.read_text().splitlines() if file.exists() else []
    return [float(at) for said, at in map(str.split, lines) if said == what]


async def command(cluster: ProcessCluster, *words: str) -> None:
    """Run a command with the account `user.cli`."""
    environ = {**os.environ, "FEDBUS_BROKER": cluster.broker.address("user.cli").url}
    process = await asyncio.create_subprocess_exec(*FEDBUS, *words, env=environ)
    assert await process.wait() == 0
