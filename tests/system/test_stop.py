"""SIGTERM ends everybody cleanly, whatever they are doing, and what they did is not lost."""

import asyncio
from pathlib import Path

import pytest

from tests.system.house import House, Plan
from tests.system.seeds import chance_of, storm

pytestmark = [pytest.mark.system, pytest.mark.storm]


@storm
async def test_all_end_cleanly_when_told_to_and_go_on_when_started_again(
    seed: int, tmp_path: Path
) -> None:
    """In the middle of a round: exit code 0 within seconds; afterwards the job goes on."""
    chance = chance_of("stop", seed)
    plan = Plan(seed=seed, evaluators=1, train_seconds=0.5, inference=seed % 2 == 0)
    async with House(tmp_path, plan) as house:
        await house.submit(rounds=3)
        after = chance.randint(0, 2)
        await house.until(f"{after} rounds are done", lambda: house.state().round >= after)
        await asyncio.sleep(chance.uniform(0, 1))
        house.note("all are told to end")
        await house.leave()
        # Told to end before they are back, Python ends them at once.
        await house.restart(chance.sample(sorted(house.processes), len(house.processes)))
        await house.finish(rounds=3)


@storm
async def test_all_end_cleanly_without_a_broker(seed: int, tmp_path: Path) -> None:
    """Nobody waits for a broker that is gone, not even to say goodbye."""
    chance = chance_of("stop without a broker", seed)
    async with House(tmp_path, Plan(seed=seed, train_seconds=0.5)) as house:
        await house.submit(rounds=3)
        await asyncio.sleep(chance.uniform(0, 1))
        house.broker.kill()
        await asyncio.sleep(chance.uniform(0, 2))
        await house.leave()
