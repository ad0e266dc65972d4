"""A job is cancelled in the middle: everybody stops, nothing of it is left, the next one runs."""

import asyncio
from pathlib import Path

import pytest

from tests.system.house import COLLECTOR, JOB, House, Plan
from tests.system.seeds import chance_of, storm

pytestmark = [pytest.mark.system, pytest.mark.storm]

TRAIN_SECONDS = 1.0


@storm
async def test_a_canceled_job_leaves_nothing_behind(seed: int, tmp_path: Path) -> None:
    """Cancelled while it is accepted, planned, trained or collected."""
    chance = chance_of("cancel", seed)
    opened, moment = chance.randint(0, 2), chance.uniform(0, 2 * TRAIN_SECONDS)
    plan = Plan(seed=seed, numbers=500_000, train_seconds=TRAIN_SECONDS)
    async with House(tmp_path, plan) as house:
        await house.submit(rounds=50)
        there = lambda: len(house.notes(COLLECTOR, "round_opened")) >= opened  # noqa: E731
        await house.until(f"{opened} rounds were opened", there)
        await asyncio.sleep(moment)
        await house.cancel()
        assert house.state().phase == "cancelled"
        assert {"job": JOB, "cancelled": True} in house.answers
        await house.until("no update is held any more", lambda: not house.held(), 20.0)
        before = set(house.made())
        # Another job trains at once, for longer than what was under way would have gone on.
        await house.submit(rounds=2, job="job-2")
        await house.finish(rounds=2, job="job-2")
        assert set(house.made()) == before
        done = house.state(JOB)
        assert (done.phase, done.reason) == ("cancelled", "cancelled by a user")
        assert house.check(JOB) == done.round
