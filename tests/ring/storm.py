"""A storm: everything that may go wrong in a ring, drawn from one seed."""

from pathlib import Path
from random import Random

from fedbus.simulation.network_faults import NO_FAULTS, ROUGH_LINKS
from fedbus.simulation.services import SERVICES
from tests.ring.house import House, chance_of

MOST_FAULTS = 6
SECONDS = 8.0
SIZES = (200, 200, 3_000, 3_000, 3_000, 70_000, 150_000)
"""Numbers in the model: from what rides in an offer to what takes three chunks."""


def storm(folder: Path, seed: int) -> House:
    """Run one job through a storm until it has ended, or raise with the seed."""
    chance = chance_of(seed)
    house = House(
        folder,
        seed=seed,
        agents=chance.randint(2, 5),
        evaluators=chance.randint(0, 2),
        numbers=chance.choice(SIZES),
        faults=chance.choice([NO_FAULTS, ROUGH_LINKS, ROUGH_LINKS]),
    )
    for _ in range(chance.randint(1, MOST_FAULTS)):
        _plan_a_fault(house, chance)
    house.submit(rounds=chance.randint(1, 3), wish={"deadline_seconds": 20})
    house.run(seconds=1800)
    return house


def _plan_a_fault(house: House, chance: Random) -> None:
    ring = house.ring
    victim = chance.choice([*SERVICES, *ring.hosts])
    back = chance.uniform(0.1, 8.0)
    match chance.choice(["time", "step", "step", "cut", "broker"]):
        case "time":
            ring.at(chance.uniform(0, SECONDS), lambda: _kill(house, victim, back))
        case "step":
            _kill_at_step(house, victim, chance.randint(2, 40), back)
        case "cut":
            ring.at(chance.uniform(0, SECONDS), lambda: _cut(house, victim, back))
        case "broker":
            ring.at(chance.uniform(0, SECONDS), ring.restart_broker)


def _kill(house: House, victim: str, back: float) -> None:
    if house.ring.hosts[victim].node is not None:
        house.ring.kill(victim)
        house.ring.at(house.ring.now + back, lambda: house.ring.start(victim))


def _cut(house: House, victim: str, back: float) -> None:
    if house.ring.hosts[victim].node is not None:
        house.ring.cut(victim)
        house.ring.reconnect(victim, back)


def _kill_at_step(house: House, victim: str, count: int, back: float) -> None:
    """Kill a service in the middle of what it decides, after so many of its steps."""
    before, left = house.ring.on_step, count

    def on_step(host: str, step: str) -> None:
        nonlocal left
        before(host, step)
        if host == victim and step not in ("woke", "received:Heartbeat"):
            left -= 1
            if left == 0:
                house.ring.kill_before_actions(victim)
                house.ring.at(house.ring.now, lambda: _kill(house, victim, back))

    house.ring.on_step = on_step
