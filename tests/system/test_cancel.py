"""Cancellation of a running job: all agents stop, no update is left, the next job runs."""

import asyncio
from pathlib import Path

import pytest

from tests.system.process_cluster import COLLECTOR, JOB, Plan, ProcessCluster
from tests.system.seeds import fault_rng, storm

pytestmark = [pytest.mark.system, pytest.mark.storm]

TRAIN_SECONDS = 3.0


@storm
async def test_a_cancelled_job_leaves_nothing_behind(seed: int, tmp_path: Path) -> None:
    """Cancelled while it is accepted, planned or trained."""
    rng = fault_rng("cancel", seed)
    opened, moment = rng.randint(0, 2), rng.uniform(0, TRAIN_SECONDS / 2)
    plan = Plan(seed=seed, numbers=500_000, train_seconds=TRAIN_SECONDS)
    async with ProcessCluster(tmp_path, plan) as cluster:
        await cluster.submit(rounds=50)
        there = lambda: len(cluster.log_entries(COLLECTOR, "round_opened")) >= opened  # noqa: E731
        await cluster.until(f"{opened} rounds were opened", there)
        await asyncio.sleep(moment)
        before = set(cluster.updates_made())
        await cluster.cancel()
        assert {"job": JOB, "cancelled": True} in cluster.answers
        await cluster.until("no update is held any more", lambda: not cluster.held_updates(), 20.0)
        # Another job trains at once, for longer than what was under way would have gone on.
        await cluster.submit(rounds=1, job="job-2")
        await cluster.finish(rounds=1, job="job-2")
        assert set(cluster.updates_made()) == before
        done = cluster.state(JOB)
        assert (done.phase, done.reason) == ("cancelled", "cancelled by a user")
        assert cluster.check(JOB) == done.round


@storm
async def test_a_round_that_is_committed_meanwhile_is_counted(seed: int, tmp_path: Path) -> None:
    """Cancelled while updates are collected: the final state counts what the repository holds."""
    rng = fault_rng("cancel at the end of a round", seed)
    opened, moment = rng.randint(1, 3), rng.uniform(0, 0.2)
    async with ProcessCluster(tmp_path, Plan(seed=seed, numbers=500_000)) as cluster:
        await cluster.submit(rounds=50)
        there = lambda: len(cluster.log_entries(COLLECTOR, "quorum_reached")) >= opened  # noqa: E731
        await cluster.until(f"{opened} rounds have a quorum", there)
        await asyncio.sleep(moment)
        await cluster.cancel()
        all_announced = lambda: cluster.check(JOB) == cluster.state(JOB).round  # noqa: E731
        await cluster.until("all that was committed is announced", all_announced, 20.0)
        await cluster.finish(phase="cancelled")
