"""No service keeps anything for ever of what it has done: its containers do not grow with its life.

`benchmarks/memory.py` measures the same on real processes, in megabytes.
"""

import json
from collections import Counter
from pathlib import Path

import pytest

import fedbus_collector.rounds.ended
import fedbus_controller.requests.outcomes
import fedbus_controller.rounds.evaluation
import fedbus_controller.running_jobs
import fedbus_edge_agent.tasks.task_numbers
from fedbus.mqtt.bus import Packet
from fedbus.wire.topics import CANCEL, ROOT, SUBMIT
from fedbus_repository.stores.sqlite.job_rows import MAX_LISTED_ENDED_JOBS
from tests.container_sizes import container_sizes, grown
from tests.ring.house import USER, House

FEW = 8
"""So many are remembered here of what elsewhere hundreds are remembered of."""
SETTLE_SECONDS = 700.0
"""By then everybody has been told that a job is over, or is given up."""
DETAILS = ("rounds/+", "request", "request/refused")
"""Of jobs. Where a job stands is retained for a month, until somebody has it forgotten."""
ROUNDS, JOBS, REQUESTS, CONNECTIONS = 2000, 100, 2000, 2000


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let services remember few things, so that a short life shows what has no bound at all."""
    monkeypatch.setattr(fedbus_collector.rounds.ended, "MAX_ENDED_ROUNDS", FEW)
    # Not fewer: a controller loads again what it does not remember of the 50 that are listed.
    monkeypatch.setattr(fedbus_controller.running_jobs, "MAX_ENDED_JOBS", MAX_LISTED_ENDED_JOBS)
    monkeypatch.setattr(fedbus_controller.rounds.evaluation, "RETAINED_ROUNDS", FEW)
    monkeypatch.setattr(fedbus_controller.requests.outcomes, "RETAINED_REFUSALS", FEW)
    monkeypatch.setattr(fedbus_edge_agent.tasks.task_numbers, "MAX_NUMBERED_JOBS", FEW)


def wait(house: House, seconds: float) -> None:
    """Let time pass."""
    until = house.ring.now + seconds
    house.ring.at(until, lambda: None)
    house.ring.run(lambda: house.ring.now >= until, seconds + 1)


def held_by_all(house: House, seconds: float = SETTLE_SECONDS) -> dict[str, Counter[str]]:
    """Count what everybody holds, once nothing is on its way any more."""
    wait(house, seconds)
    retained: list[Packet] = []
    house.ring.listen(
        "user.counter", [f"{ROOT}/jobs/+/{what}" for what in DETAILS], retained.append
    )
    found = {name: container_sizes(host.node) for name, host in house.ring.hosts.items()}
    return {**found, "broker": Counter({"retained": len(retained)})}


def grew(
    before: dict[str, Counter[str]], after: dict[str, Counter[str]], by: int
) -> dict[str, dict[str, tuple[int, int]]]:
    """Name what grew, by service."""
    found = {name: grown(before[name], counts, by) for name, counts in after.items()}
    return {name: containers for name, containers in found.items() if containers}


def test_what_is_kept_for_ever_is_found_by_name() -> None:
    """Else the tests below could not fail."""

    class Keeper:
        def __init__(self) -> None:
            self.seen: dict[str, list[int]] = {}

    keeper = Keeper()
    before = container_sizes(keeper)
    keeper.seen["a"] = [1] * 20
    assert grown(before, container_sizes(keeper), 20) == {"Keeper.seen": (0, 21)}


def test_nothing_is_kept_of_rounds(tmp_path: Path) -> None:
    """Not by the broker either, of whose retained documents a job's last rounds are some."""
    house = House(tmp_path, agents=2, numbers=20)
    house.submit("warm", rounds=5 * FEW)
    house.run("warm")
    before = held_by_all(house)
    house.submit("long", rounds=ROUNDS)
    house.run("long", 10.0 * ROUNDS)
    after = held_by_all(house)
    house.close()
    assert grew(before, after, ROUNDS // 20) == {}


def test_nothing_is_kept_of_jobs_that_are_over(tmp_path: Path) -> None:
    """Nor of their rounds, once more have come after them."""
    house = House(tmp_path, agents=2, numbers=20)
    counts = []
    for kind, count in (("warm", 2 * FEW), ("short", JOBS)):
        for number in range(count):
            house.submit(f"{kind}-{number}", rounds=1)
            house.run(f"{kind}-{number}")
        counts.append(held_by_all(house))
    house.close()
    assert grew(counts[0], counts[1], JOBS * 3 // 4) == {}


def test_nothing_is_kept_of_refused_requests(tmp_path: Path) -> None:
    """Whoever sends wrong files in a loop, each under an id and with a reply topic of its own."""
    house = House(tmp_path, agents=1, evaluators=0, numbers=20)
    counts = []
    for kind, count in (("warm", 10 * FEW), ("wrong", REQUESTS)):
        for number in range(count):
            reply = f"{ROOT}/replies/{kind}-{number}"
            job = {"training_id": f"{kind}-{number}", f"key-{number}": number}
            for topic, payload in (
                (SUBMIT.pattern, json.dumps(job).encode()),
                (SUBMIT.pattern, b"[" * number),
                (CANCEL.pattern, f"nobody-{kind}-{number}".encode()),
            ):
                house.ring.publish(USER, Packet(f"{ROOT}/{topic}", payload, response_topic=reply))
        counts.append(held_by_all(house, 60.0))
    house.close()
    assert len(house.answers) >= 3 * REQUESTS
    assert grew(counts[0], counts[1], REQUESTS // 10) == {}


def test_nothing_is_kept_of_connections(tmp_path: Path) -> None:
    """Of those that broke, with a round under way."""
    house = House(tmp_path, agents=2, numbers=20)
    counts = []
    for kind, count in (("warm", FEW), ("long", CONNECTIONS // len(house.ring.hosts))):
        house.submit(kind, rounds=10_000)
        for _ in range(count):
            for name in house.ring.hosts:
                house.ring.cut(name)
                house.ring.reconnect(name, 0.01)
            wait(house, 0.3)
        wait(house, 10.0)
        house.cancel(kind)
        house.run(kind)
        counts.append(held_by_all(house))
    house.close()
    assert grew(counts[0], counts[1], CONNECTIONS // 20) == {}
