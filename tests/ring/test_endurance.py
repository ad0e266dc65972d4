"""Endurance of services: their containers do not grow with the work they have done.

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
from fedbus_repository.stores.record_database import MAX_LISTED_ENDED_JOBS
from tests.container_sizes import container_sizes, grown
from tests.ring.ring_cluster import USER, RingCluster

FEW = 8
"""Entries that services keep in these tests, instead of hundreds."""
SETTLE_SECONDS = 700.0
"""Time after which all nodes know that a job is over, or are no longer asked."""
DETAILS = ("rounds/+", "request", "request/refused")
"""Retained topics of a job that are deleted soon. Its state is retained for a month."""
ROUNDS, JOBS, REQUESTS, CONNECTIONS = 2000, 100, 2000, 2000


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the bounds of services to few entries, so that a short run detects a missing bound."""
    monkeypatch.setattr(fedbus_collector.rounds.ended, "MAX_ENDED_ROUNDS", FEW)
    # Not fewer: a controller loads a listed job again that it does not remember.
    monkeypatch.setattr(fedbus_controller.running_jobs, "MAX_ENDED_JOBS", MAX_LISTED_ENDED_JOBS)
    monkeypatch.setattr(fedbus_controller.rounds.evaluation, "RETAINED_ROUNDS", FEW)
    monkeypatch.setattr(fedbus_controller.requests.outcomes, "RETAINED_REFUSALS", FEW)
    monkeypatch.setattr(fedbus_edge_agent.tasks.task_numbers, "MAX_NUMBERED_JOBS", FEW)


def wait(cluster: RingCluster, seconds: float) -> None:
    """Advance the simulated time."""
    until = cluster.ring.now + seconds
    cluster.ring.at(until, lambda: None)
    cluster.ring.run(lambda: cluster.ring.now >= until, seconds + 1)


def all_entries(
    cluster: RingCluster, seconds: float = SETTLE_SECONDS, details: tuple[str, ...] = DETAILS
) -> dict[str, Counter[str]]:
    """Count the container entries of all hosts, after all messages have arrived.

    Of what the broker retains, count these details of jobs.
    """
    wait(cluster, seconds)
    retained: list[Packet] = []
    cluster.ring.listen(
        "user.counter", [f"{ROOT}/jobs/+/{what}" for what in details], retained.append
    )
    found = {name: container_sizes(host.node) for name, host in cluster.ring.hosts.items()}
    return {**found, "broker": Counter({"retained": len(retained)})}


def grew(
    before: dict[str, Counter[str]], after: dict[str, Counter[str]], by: int
) -> dict[str, dict[str, tuple[int, int]]]:
    """Return the grown containers of each service."""
    found = {name: grown(before[name], counts, by) for name, counts in after.items()}
    return {name: containers for name, containers in found.items() if containers}


def test_a_growing_container_is_found_by_name() -> None:
    """Otherwise the tests below could not fail."""

    class Keeper:
        def __init__(self) -> None:
            self.seen: dict[str, list[int]] = {}

    keeper = Keeper()
    before = container_sizes(keeper)
    keeper.seen["a"] = [1] * 20
    assert grown(before, container_sizes(keeper), 20) == {"Keeper.seen": (0, 21)}


def test_nothing_is_kept_of_rounds(tmp_path: Path) -> None:
    """The broker retains the documents of a job's last rounds only."""
    cluster = RingCluster(tmp_path, agents=2, numbers=20)
    cluster.submit("warm", rounds=5 * FEW)
    cluster.run("warm")
    before = all_entries(cluster)
    cluster.submit("long", rounds=ROUNDS)
    cluster.run("long", 10.0 * ROUNDS)
    after = all_entries(cluster)
    cluster.close()
    assert grew(before, after, ROUNDS // 20) == {}


def test_nothing_is_kept_of_jobs_that_are_over(tmp_path: Path) -> None:
    """Their rounds are forgotten too, when later jobs follow.

    The documents of their rounds stay at the broker, which deletes them after a week; the broker of
    the ring has no time.
    """
    cluster = RingCluster(tmp_path, agents=2, numbers=20)
    counts = []
    for kind, count in (("warm", 2 * FEW), ("short", JOBS)):
        for number in range(count):
            cluster.submit(f"{kind}-{number}", rounds=1)
            assert cluster.run(f"{kind}-{number}").phase == "finished"
        counts.append(all_entries(cluster, details=("request", "request/refused")))
    cluster.close()
    assert grew(counts[0], counts[1], JOBS * 3 // 4) == {}


def test_nothing_is_kept_of_refused_requests(tmp_path: Path) -> None:
    """Wrong files are sent in a loop, each with its own id and reply topic."""
    cluster = RingCluster(tmp_path, agents=1, evaluators=0, numbers=20)
    counts = []
    for kind, count in (("warm", 10 * FEW), ("wrong", REQUESTS)):
        for number in range(count):
            reply = f"{ROOT}/replies/{kind}-{number}"
            job = {"training_id": f"{kind}-{number}", f"key-{number}": number}
            for topic, payload in (
                (SUBMIT.pattern, json.dumps(job).encode()),
                (SUBMIT.pattern, b"[" * number),
                (CANCEL.pattern, f"unknown-{kind}-{number}".encode()),
            ):
                cluster.ring.publish(USER, Packet(f"{ROOT}/{topic}", payload, response_topic=reply))
        counts.append(all_entries(cluster, 60.0))
    cluster.close()
    assert len(cluster.answers) >= 3 * REQUESTS
    assert grew(counts[0], counts[1], REQUESTS // 10) == {}


def test_nothing_is_kept_of_connections(tmp_path: Path) -> None:
    """Connections are cut during a round."""
    cluster = RingCluster(tmp_path, agents=2, numbers=20)
    counts = []
    for kind, count in (("warm", FEW), ("long", CONNECTIONS // len(cluster.ring.hosts))):
        cluster.submit(kind, rounds=10_000)
        for _ in range(count):
            for name in cluster.ring.hosts:
                cluster.ring.cut(name)
                cluster.ring.reconnect(name, 0.01)
            wait(cluster, 0.3)
        wait(cluster, 10.0)
        cluster.cancel(kind)
        cluster.run(kind)
        counts.append(all_entries(cluster))
    cluster.close()
    assert grew(counts[0], counts[1], CONNECTIONS // 20) == {}
