"""Services stand still and go on as if nothing had been; two controllers, one lease."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from fedbus.simulation.network_faults import NO_FAULTS, ROUGH_LINKS
from fedbus.simulation.oracle import check_records
from fedbus.simulation.services import COLLECTOR, CONTROLLER
from tests.ring.house import House, chance_of

SEEDS = 60
BATCH = 20
CONTROLLERS = (CONTROLLER, "controller.2")


def storm(folder: Path, seed: int) -> House:
    """Run a job while services stand still for up to three leases."""
    chance = chance_of(seed)
    house = House(
        folder,
        seed=seed,
        agents=3,
        controllers=2,
        numbers=chance.choice([200, 3_000, 150_000]),
        faults=chance.choice([NO_FAULTS, ROUGH_LINKS]),
    )
    for _ in range(chance.randint(1, 4)):
        victim = chance.choice([*CONTROLLERS, *CONTROLLERS, COLLECTOR, *house.agents])
        at, seconds = chance.uniform(0, 12), chance.uniform(1, 45)
        house.ring.at(at, partial(house.ring.freeze, victim, seconds))
    house.submit(rounds=chance.randint(2, 5), wish={"deadline_seconds": 20})
    house.run(seconds=1800)
    return house


def _run_on(house: House, seconds: float) -> None:
    end = house.ring.now + seconds
    house.ring.run(lambda: house.ring.now >= end)


def _batches() -> list[range]:
    alone = os.environ.get("FEDBUS_RING_SEED")
    if alone:
        return [range(int(alone), int(alone) + 1)]
    return [range(first, first + BATCH) for first in range(0, SEEDS, BATCH)]


@pytest.mark.parametrize("seeds", _batches(), ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_who_stood_still_changes_nothing_that_is_decided(seeds: range, tmp_path: Path) -> None:
    """Each round is made once, and the last word about a job stays the last."""
    for seed in seeds:
        house = storm(tmp_path / str(seed), seed)
        last = house.states["job-1"][-1]
        assert last.phase == "finished", f"seed {seed}: {last.reason}"
        _run_on(house, 100)
        said = house.states["job-1"][-1]  # perhaps again, and later
        assert replace(said, at=last.at) == last, f"seed {seed}: it was not the last word"
        assert house.ring.broker.violations == [], f"seed {seed}"
        with house.store() as store:
            check_records(store, house.updates)
            made = [one for one in store.history() if one.record is not None]
            assert len(made) == last.round, f"seed {seed}"
        house.close()
