"""A repository that is restored from a backup while everything else goes on."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.process_cluster import JOB, REPOSITORY, Plan, ProcessCluster

pytestmark = pytest.mark.system


async def store(*words: str | Path) -> None:
    """Run `fedbus store …` in a process, as an operator does."""
    line = [sys.executable, "-m", "fedbus.cli", "store", *map(str, words)]
    done = await asyncio.to_thread(
        subprocess.run, line, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


async def test_a_restored_repository_goes_on_with_the_running_services(tmp_path: Path) -> None:
    """The job that ran ends as failed, and submitted again it runs without any other restart."""
    async with ProcessCluster(tmp_path / "cluster", Plan(seed=3, train_seconds=0.2)) as cluster:
        await cluster.submit(rounds=30)
        await cluster.until("two rounds are committed", lambda: cluster.state().round > 1)
        data, backup = cluster.folder / "repository", tmp_path / "backup"
        await store("backup", data, backup)
        lost = cluster.state().round + 2
        await cluster.until("later rounds are committed", lambda: cluster.state().round >= lost)
        cluster.kill(REPOSITORY)
        data.rename(tmp_path / "lost")
        await store("restore", backup, data)
        await store("check", data)
        await cluster.restart([REPOSITORY])
        await cluster.until("the job is over", lambda: cluster.ended(JOB))
        assert "restored from its backup" in cluster.state().reason
        assert 1 < cluster.state().round < lost
        await cluster.submit(rounds=3, job="job-1.2")
        await cluster.finish(3, job="job-1.2")
