"""Somebody is stopped where he is (SIGSTOP) and goes on later, knowing nothing of it."""

import asyncio
from pathlib import Path

import pytest

from tests.system.house import COLLECTOR, House, Plan
from tests.system.seeds import FEW, chance_of, storm

pytestmark = [pytest.mark.system, pytest.mark.storm]

LEASE_SECONDS = 4.0
BOTH = ("controller.1", "controller.2")


@pytest.mark.parametrize("node", ["agent.a1", COLLECTOR], ids=["agent", "collector"])
@storm
async def test_who_stood_still_takes_up_what_is_left(node: str, seed: int, tmp_path: Path) -> None:
    """Lost after three seconds, back after one to twenty: the job finishes all the same."""
    chance = chance_of(f"stillness of {node}", seed)
    after = chance.randint(0, 2)
    seconds = chance.uniform(1, 5 if seed < FEW else 20)
    async with House(tmp_path, Plan(seed=seed, train_seconds=0.3)) as house:
        await house.submit(rounds=4)
        opened = lambda: len(house.notes(COLLECTOR, "round_opened")) > after  # noqa: E731
        await house.until(f"round {after + 1} is open", opened)
        await asyncio.sleep(chance.uniform(0, 0.5))
        house.freeze(node)
        await asyncio.sleep(seconds)
        house.thaw(node)
        await house.finish(rounds=4)


@storm
async def test_a_controller_that_lost_its_lease_decides_nothing(seed: int, tmp_path: Path) -> None:
    """The standby takes over; the first learns it when it wakes, even after the job's end."""
    chance = chance_of("two controllers", seed)
    rounds, after, wakes_late = 5, chance.randint(0, 2), chance.random() < 0.3
    plan = Plan(
        seed=seed, controllers=2, evaluators=1, train_seconds=0.4, lease_seconds=LEASE_SECONDS
    )
    async with House(tmp_path, plan) as house:
        await house.submit(rounds=rounds)
        await house.until("some rounds are done", lambda: house.state().round >= after)
        await asyncio.sleep(chance.uniform(0, 0.5))
        await house.until("one of both leads", lambda: _leaders(house))
        leader = _leaders(house)[-1]
        standby = next(node for node in BOTH if node != leader)
        lost = len(house.notes(leader, "lease_lost"))
        house.freeze(leader)
        await house.until("the standby leads", lambda: standby in _leaders(house))
        if wakes_late:
            await house.until("the job is over", house.ended)
        else:
            await asyncio.sleep(chance.uniform(0, 1))
        house.thaw(leader)
        told = lambda: len(house.notes(leader, "lease_lost")) > lost  # noqa: E731
        await house.until("the first knows that it led no more", told)
        await house.finish(rounds=rounds)


def _leaders(house: House) -> list[str]:
    """Name who believes to lead, by its log; who took the lease last comes last."""
    believing = []
    for node in BOTH:
        changes = [*house.notes(node, "lease_taken"), *house.notes(node, "lease_lost")]
        last = max(changes, key=lambda note: str(note["timestamp"]), default=None)
        if last is not None and last["event"] == "lease_taken":
            believing.append((str(last["timestamp"]), node))
    return [node for _, node in sorted(believing)]
