"""The broker is killed with -9 while updates are on their way, and comes back on its port."""

import asyncio
from pathlib import Path

import pytest

from tests.system.house import COLLECTOR, House, Plan
from tests.system.seeds import chance_of, storm

pytestmark = [pytest.mark.system, pytest.mark.storm]

NUMBERS = 1_000_000
CHUNKS = 16 * 3
"""Of the updates of one round."""


@storm
async def test_a_killed_broker_costs_nothing(seed: int, tmp_path: Path) -> None:
    """All connect again, want what they lack, and the job finishes."""
    chance = chance_of("broker", seed)
    last, pause = chance.randint(1, 3 * CHUNKS - 8), chance.choice([0.0, 0.3, 2.0, 5.0])
    async with House(tmp_path, Plan(seed=seed, numbers=NUMBERS)) as house:
        async with house.spying(f"link/+/{COLLECTOR}/chunk") as bus:
            submitting = asyncio.create_task(house.submit(rounds=3))
            async with asyncio.timeout(60):
                heard = 0
                async for _ in bus:
                    heard += 1
                    if heard == last:
                        break
            house.broker.kill()
        house.note(f"broker killed after {last} chunks of updates, back in {pause:.1f} s")
        assert len(house.notes(COLLECTOR, "round_aggregated")) <= (last - 1) // CHUNKS
        await asyncio.sleep(pause)
        house.broker.start()
        await submitting
        await house.finish(rounds=3)
