"""A job is cancelled in the middle: everybody stops, nothing of it is left, the next one runs."""

import asyncio
from pathlib import Path

import pytest

from tests.system.house import COLLECTOR, JOB, House, Plan
from tests.system.seeds import chance_of, storm

pytestmark = [pytest.mark.system, pytest.mark.storm]

TRAIN_SECONDS = 3.0


@storm
async def test_a_canceled_job_leaves_nothing_behind(seed: int, tmp_path: Path) -> None:
    """Cancelled while it is accepted, planned or trained."""
    chance = chance_of("cancel", seed)
    opened, moment = chance.randint(0, 2), chance.uniform(0, TRAIN_SECONDS / 2)
    plan = Plan(seed=seed, numbers=500_000, train_seconds=TRAIN_SECONDS)
    async with House(tmp_path, plan) as house:
        await house.submit(rounds=50)
        there = lambda: len(house.notes(COLLECTOR, "round_opened")) >= opened  # noqa: E731
        await house.until(f"{opened} rounds were opened", there)
        await asyncio.sleep(moment)
        before = set(house.made())
        await house.cancel()
        assert {"job": JOB, "cancelled": True} in house.answers
        await house.until("no update is held any more", lambda: not house.held(), 20.0)
        # Another job trains at once, for longer than what was under way would have gone on.
        await house.submit(rounds=1, job="job-2")
        await house.finish(rounds=1, job="job-2")
        assert set(house.made()) == before
        done = house.state(JOB)
        assert (done.phase, done.reason) == ("cancelled", "cancelled by a user")
        assert house.check(JOB) == done.round


@storm
async def test_a_round_that_is_committed_meanwhile_is_counted(seed: int, tmp_path: Path) -> None:
    """Cancelled while updates are collected: the last word says what the repository holds."""
    chance = chance_of("cancel at the end of a round", seed)
    opened, moment = chance.randint(1, 3), chance.uniform(0, 0.2)
    async with House(tmp_path, Plan(seed=seed, numbers=500_000)) as house:
        await house.submit(rounds=50)
        there = lambda: len(house.notes(COLLECTOR, "quorum_reached")) >= opened  # noqa: E731
        await house.until(f"{opened} rounds have a quorum", there)
        await asyncio.sleep(moment)
        await house.cancel()
        in_trail = lambda: house.check(JOB) == house.state(JOB).round  # noqa: E731
        await house.until("all that was committed is announced", in_trail, 20.0)
        await house.finish(phase="cancelled")
