"""Requests published once, with QoS 1, while the controller is killed or no controller leads."""

import json
from pathlib import Path
from random import Random

import pytest

from fedbus.mqtt.bus import Packet
from fedbus.simulation.services import CONTROLLER, REPOSITORY
from fedbus.wire import topics
from tests.ring.ring_cluster import MODEL, USER, RingCluster

SUBMIT, CANCEL = f"{topics.ROOT}/submit", f"{topics.ROOT}/cancel"


def job_file(job: str | None, rounds: int = 1) -> bytes:
    """Return a job file for one agent, with an id or without."""
    wish = {"agents": 1, "quorum": 1, "deadline_seconds": 30}
    named = {} if job is None else {"training_id": job}
    plain = {**named, "model_name": MODEL, "num_rounds": rounds, "round": wish}
    return json.dumps(plain).encode()


def publish_once(cluster: RingCluster, file: bytes, topic: str = SUBMIT) -> None:
    """Publish as mosquitto_pub does: without a reply topic, once."""
    cluster.ring.publish(USER, Packet(topic, file), qos=1)


def wait(cluster: RingCluster, seconds: float) -> None:
    """Advance the simulated time."""
    until = cluster.ring.now + seconds
    cluster.ring.at(until, lambda: None)
    cluster.ring.run(lambda: cluster.ring.now >= until, seconds + 1)


def finished(cluster: RingCluster, count: int = 1) -> bool:
    """Return whether `count` jobs exist, all finished."""
    last = [states[-1].phase for states in cluster.states.values()]
    return last == ["finished"] * count


def accepted(cluster: RingCluster) -> int:
    """Return how many times `job-1` was started."""
    return [facts["job"] for facts in cluster.ring.noted("job_started")].count("job-1")


def test_a_job_published_while_the_controller_is_dead_is_taken(tmp_path: Path) -> None:
    """The broker keeps it for the session of the controller, which is restarted."""
    cluster = RingCluster(tmp_path)
    cluster.ring.run(lambda: any(cluster.ring.noted("lease_taken")))
    cluster.ring.kill(CONTROLLER)
    publish_once(cluster, job_file("job-1"))
    cluster.ring.at(cluster.ring.now + 20.0, lambda: cluster.ring.start(CONTROLLER))
    assert cluster.run().phase == "finished"
    cluster.close()


def test_a_job_published_while_the_repository_is_away_is_taken(tmp_path: Path) -> None:
    """No controller has a lease then; it holds the request."""
    cluster = RingCluster(tmp_path)
    cluster.ring.run(lambda: any(cluster.ring.noted("lease_taken")))
    cluster.ring.kill(REPOSITORY)
    cluster.ring.at(cluster.ring.now + 20.0, lambda: publish_once(cluster, job_file("job-1")))
    cluster.ring.at(cluster.ring.now + 40.0, lambda: cluster.ring.start(REPOSITORY))
    assert cluster.run().phase == "finished"
    cluster.close()


def test_a_cancel_published_while_the_controller_is_dead_ends_the_job(tmp_path: Path) -> None:
    """The job is loaded again first."""
    cluster = RingCluster(tmp_path)
    cluster.ring.run(lambda: any(cluster.ring.noted("lease_taken")))
    publish_once(cluster, job_file("job-1", rounds=500))
    cluster.ring.run(lambda: bool(cluster.states.get("job-1")))
    cluster.ring.kill(CONTROLLER)
    publish_once(cluster, b"job-1", CANCEL)
    cluster.ring.at(cluster.ring.now + 10.0, lambda: cluster.ring.start(CONTROLLER))
    assert cluster.run().phase == "cancelled"
    cluster.close()


def test_a_retained_job_survives_the_broker_and_is_cleared(tmp_path: Path) -> None:
    """The broker was stopped cleanly while no controller was there."""
    cluster = RingCluster(tmp_path)
    cluster.ring.kill(CONTROLLER)
    topic = f"{topics.ROOT}/jobs/job-1/request"
    cluster.ring.publish(USER, Packet(topic, job_file("job-1"), retain=True))
    cluster.ring.restart_broker(saved=True)
    cluster.ring.start(CONTROLLER)
    assert cluster.run().phase == "finished"
    left: list[Packet] = []
    cluster.ring.listen("user.other", [topic], left.append)
    assert left == []
    cluster.close()


def test_of_two_controllers_one_accepts_it_and_the_other_drops_it(tmp_path: Path) -> None:
    """The broker has no copy for the standby either, when the standby leads later."""
    cluster = RingCluster(tmp_path, controllers=2)
    both = [cluster.ring.hosts[name] for name in (CONTROLLER, "controller.2")]
    cluster.ring.run(lambda: all(host.connected for host in both))
    cluster.ring.run(lambda: any(cluster.ring.noted("lease_taken")))
    publish_once(cluster, job_file("job-1", rounds=3))
    cluster.run()
    (leader,) = {host for _, host, event, _ in cluster.ring.notes if event == "lease_taken"}
    (standby,) = {CONTROLLER, "controller.2"} - {leader}
    cluster.ring.run(lambda: cluster.ring.now > 60.0)
    cluster.ring.kill(leader)
    begun = accepted(cluster)
    cluster.ring.run(lambda: sum(1 for _ in cluster.ring.noted("lease_taken")) > 1)
    cluster.ring.run(lambda: cluster.ring.now > 120.0)
    assert accepted(cluster) == begun
    assert not any(cluster.ring.broker.waiting(controller) for controller in (leader, standby))
    cluster.close()


def die_before_acknowledging(cluster: RingCluster) -> str:
    """Publish a file without an id; kill the leader when the repository has stored its job."""
    ring = cluster.ring
    ring.run(lambda: all(ring.hosts[n].connected for n in ring.hosts if n.startswith("controller")))
    ring.run(lambda: any(ring.noted("lease_taken")))
    (leader,) = {host for _, host, event, _ in ring.notes if event == "lease_taken"}

    def on_step(host: str, step: str) -> None:
        if host == leader and step == "received:JobLoaded":
            ring.kill_before_actions(leader)
            ring.at(ring.now, lambda: ring.kill(leader))

    ring.on_step = on_step
    publish_once(cluster, job_file(None))
    ring.run(lambda: not ring.hosts[leader].connected)
    ring.on_step = lambda *_: None
    (kept,) = ring.broker.waiting(leader)
    assert kept.redelivered
    return leader


@pytest.mark.parametrize("seconds", [1.0, 100.0, 5000.0])
def test_a_job_without_an_id_is_one_job_however_long_its_controller_is_dead(
    seconds: float, tmp_path: Path
) -> None:
    """The broker delivers the request again after the restart, which makes another id for it."""
    cluster = RingCluster(tmp_path)
    leader = die_before_acknowledging(cluster)
    wait(cluster, seconds)
    cluster.ring.start(leader)
    cluster.ring.run(lambda: finished(cluster))
    wait(cluster, 100.0)
    assert finished(cluster)
    assert list(cluster.ring.noted("job_refused")) == []
    assert cluster.ring.broker.waiting(leader) == []
    wait(cluster, 100.0)
    publish_once(cluster, job_file(None))  # this is a new job
    cluster.ring.run(lambda: finished(cluster, 2))
    cluster.close()


def test_a_job_that_a_standby_ended_is_not_started_again(tmp_path: Path) -> None:
    """The first leader is restarted hours later, alone, and receives the file again."""
    cluster = RingCluster(tmp_path, controllers=2)
    leader = die_before_acknowledging(cluster)
    (standby,) = {CONTROLLER, "controller.2"} - {leader}
    cluster.ring.run(lambda: finished(cluster))
    wait(cluster, 5000.0)
    assert cluster.ring.broker.waiting(standby) == []
    cluster.ring.kill(standby)
    cluster.ring.start(leader)
    wait(cluster, 100.0)
    assert finished(cluster)
    assert list(cluster.ring.noted("job_refused")) == []
    assert cluster.ring.broker.waiting(leader) == []
    cluster.close()


def test_a_file_of_every_night_is_a_job_every_night_although_a_controller_dies(
    tmp_path: Path,
) -> None:
    """The repository was down; the restarted controller receives the file as a redelivery."""
    cluster = RingCluster(tmp_path)
    cluster.ring.run(lambda: any(cluster.ring.noted("lease_taken")))
    publish_once(cluster, job_file(None))
    cluster.ring.run(lambda: finished(cluster))
    wait(cluster, 1000.0)
    cluster.ring.kill(REPOSITORY)
    publish_once(cluster, job_file(None))
    wait(cluster, 5.0)
    cluster.ring.kill(CONTROLLER)
    for name in (CONTROLLER, REPOSITORY):
        cluster.ring.start(name)
    cluster.ring.run(lambda: finished(cluster, 2))
    wait(cluster, 100.0)
    assert cluster.ring.broker.waiting(CONTROLLER) == []
    cluster.close()


@pytest.mark.parametrize("job", ["job-1", None], ids=["named", "without an id"])
@pytest.mark.parametrize("seed", range(40))
def test_a_job_published_once_is_accepted_once_whatever_dies(
    seed: int, job: str | None, tmp_path: Path
) -> None:
    """The controller is killed at any step, and a standby may take over."""
    rng = Random(f"requests {seed}")
    cluster = RingCluster(tmp_path, seed=seed, agents=2, controllers=rng.choice([1, 2]))
    ring, left = cluster.ring, rng.randint(1, 25)
    victims = [name for name in ring.hosts if name.startswith("controller")] + [REPOSITORY]
    victim = rng.choice(victims)

    def on_step(host: str, step: str) -> None:
        nonlocal left
        if host == victim and step not in ("woke", "received:Heartbeat", "received:NodeState"):
            left -= 1
            if left == 0:
                ring.kill_before_actions(victim)
                ring.at(ring.now, lambda: ring.kill(victim))
                ring.at(ring.now + rng.uniform(0.1, 40.0), lambda: ring.start(victim))

    ring.on_step = on_step
    # A session begins with the first login; before it the broker keeps nothing.
    ring.run(lambda: all(ring.hosts[name].connected for name in victims))
    ring.at(ring.now + rng.uniform(0.0, 5.0), lambda: publish_once(cluster, job_file(job)))
    ring.run(lambda: finished(cluster), 900.0)
    ring.run(lambda: ring.now > 200.0)
    assert not any(ring.broker.waiting(name) for name in victims), f"seed {seed}"
    with cluster.store() as store:
        assert len([one for one in store.history() if one.record is not None]) == 1, f"seed {seed}"
    cluster.close()
