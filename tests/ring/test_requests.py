"""Requests published once, with QoS 1, while the controller dies, stands still, or nobody leads."""

import json
from pathlib import Path
from random import Random

import pytest

from fedbus.mqtt.bus import Packet
from fedbus.simulation.services import CONTROLLER, REPOSITORY
from fedbus.wire import topics
from tests.ring.house import MODEL, USER, House

SUBMIT, CANCEL = f"{topics.ROOT}/submit", f"{topics.ROOT}/cancel"


def job_file(job: str | None, rounds: int = 1) -> bytes:
    """A job for one agent, with an id or without."""
    wish = {"agents": 1, "quorum": 1, "deadline_seconds": 30}
    named = {} if job is None else {"training_id": job}
    plain = {**named, "model_name": MODEL, "num_rounds": rounds, "round": wish}
    return json.dumps(plain).encode()


def publish_once(house: House, file: bytes, topic: str = SUBMIT) -> None:
    """Publish as mosquitto_pub does: no reply topic, no second try."""
    house.ring.publish(USER, Packet(topic, file), qos=1)


def wait(house: House, seconds: float) -> None:
    """Let time pass."""
    until = house.ring.now + seconds
    house.ring.at(until, lambda: None)
    house.ring.run(lambda: house.ring.now >= until, seconds + 1)


def finished(house: House, count: int = 1) -> bool:
    """Tell whether so many jobs, whatever their ids, have reached their last round."""
    last = [states[-1].phase for states in house.states.values()]
    return last == ["finished"] * count


def accepted(house: House) -> int:
    """How often the repository took the job in."""
    return [facts["job"] for facts in house.ring.told("job_started")].count("job-1")


def test_a_job_published_while_the_controller_is_dead_is_taken(tmp_path: Path) -> None:
    """The broker keeps it for the session of the controller that comes back."""
    house = House(tmp_path)
    house.ring.run(lambda: any(house.ring.told("lease_taken")))
    house.ring.kill(CONTROLLER)
    publish_once(house, job_file("job-1"))
    house.ring.at(house.ring.now + 20.0, lambda: house.ring.start(CONTROLLER))
    assert house.run().phase == "finished"
    house.close()


def test_a_job_published_while_the_repository_is_away_is_taken(tmp_path: Path) -> None:
    """No controller has a lease then; it holds what it cannot decide."""
    house = House(tmp_path)
    house.ring.run(lambda: any(house.ring.told("lease_taken")))
    house.ring.kill(REPOSITORY)
    house.ring.at(house.ring.now + 20.0, lambda: publish_once(house, job_file("job-1")))
    house.ring.at(house.ring.now + 40.0, lambda: house.ring.start(REPOSITORY))
    assert house.run().phase == "finished"
    house.close()


def test_a_cancel_published_while_the_controller_is_dead_ends_the_job(tmp_path: Path) -> None:
    """Once, although the job is loaded again first."""
    house = House(tmp_path)
    house.ring.run(lambda: any(house.ring.told("lease_taken")))
    publish_once(house, job_file("job-1", rounds=500))
    house.ring.run(lambda: bool(house.states.get("job-1")))
    house.ring.kill(CONTROLLER)
    publish_once(house, b"job-1", CANCEL)
    house.ring.at(house.ring.now + 10.0, lambda: house.ring.start(CONTROLLER))
    assert house.run().phase == "cancelled"
    house.close()


def test_a_retained_job_survives_the_broker_and_is_cleared(tmp_path: Path) -> None:
    """The broker was stopped cleanly while no controller was there."""
    house = House(tmp_path)
    house.ring.kill(CONTROLLER)
    place = f"{topics.ROOT}/jobs/job-1/request"
    house.ring.publish(USER, Packet(place, job_file("job-1"), retain=True))
    house.ring.restart_broker(saved=True)
    house.ring.start(CONTROLLER)
    assert house.run().phase == "finished"
    left: list[Packet] = []
    house.ring.listen("user.other", [place], left.append)
    assert left == []
    house.close()


def test_of_two_controllers_one_takes_it_and_the_other_drops_it(tmp_path: Path) -> None:
    """The standby's copy is gone at the broker too, and does not come back when it leads."""
    house = House(tmp_path, controllers=2)
    both = [house.ring.hosts[name] for name in (CONTROLLER, "controller.2")]
    house.ring.run(lambda: all(host.connected for host in both))
    house.ring.run(lambda: any(house.ring.told("lease_taken")))
    publish_once(house, job_file("job-1", rounds=3))
    house.run()
    (leader,) = {host for _, host, event, _ in house.ring.notes if event == "lease_taken"}
    (standby,) = {CONTROLLER, "controller.2"} - {leader}
    house.ring.run(lambda: house.ring.now > 60.0)
    house.ring.kill(leader)
    begun = accepted(house)
    house.ring.run(lambda: sum(1 for _ in house.ring.told("lease_taken")) > 1)
    house.ring.run(lambda: house.ring.now > 120.0)
    assert accepted(house) == begun
    assert not any(house.ring.broker.waiting(controller) for controller in (leader, standby))
    house.close()


def die_before_acknowledging(house: House) -> str:
    """Publish a file without an id; kill the leader when the repository has stored its job."""
    ring = house.ring
    ring.run(lambda: all(ring.hosts[n].connected for n in ring.hosts if n.startswith("controller")))
    ring.run(lambda: any(ring.told("lease_taken")))
    (leader,) = {host for _, host, event, _ in ring.notes if event == "lease_taken"}

    def on_step(host: str, step: str) -> None:
        if host == leader and step == "received:JobLoaded":
            ring.kill_before_actions(leader)
            ring.at(ring.now, lambda: ring.kill(leader))

    ring.on_step = on_step
    publish_once(house, job_file(None))
    ring.run(lambda: not ring.hosts[leader].connected)
    ring.on_step = lambda *_: None
    (kept,) = ring.broker.waiting(leader)
    assert kept.redelivered
    return leader


@pytest.mark.parametrize("seconds", [1.0, 100.0, 5000.0])
def test_a_job_without_an_id_is_one_job_however_long_its_controller_is_dead(
    seconds: float, tmp_path: Path
) -> None:
    """The broker still has the request, and gives it to the next life, which makes another id."""
    house = House(tmp_path)
    leader = die_before_acknowledging(house)
    wait(house, seconds)
    house.ring.start(leader)
    house.ring.run(lambda: finished(house))
    wait(house, 100.0)
    assert finished(house)
    assert list(house.ring.told("job_refused")) == []
    assert house.ring.broker.waiting(leader) == []
    wait(house, 100.0)
    publish_once(house, job_file(None))  # and this one is meant
    house.ring.run(lambda: finished(house, 2))
    house.close()


def test_a_job_that_a_standby_took_over_and_ended_is_not_begun_again(tmp_path: Path) -> None:
    """The first leader comes back hours later, alone, and is given the file once more."""
    house = House(tmp_path, controllers=2)
    leader = die_before_acknowledging(house)
    (standby,) = {CONTROLLER, "controller.2"} - {leader}
    house.ring.run(lambda: finished(house))
    wait(house, 5000.0)
    assert house.ring.broker.waiting(standby) == []
    house.ring.kill(standby)
    house.ring.start(leader)
    wait(house, 100.0)
    assert finished(house)
    assert list(house.ring.told("job_refused")) == []
    assert house.ring.broker.waiting(leader) == []
    house.close()


def test_a_file_of_every_night_is_a_job_every_night_although_a_controller_dies(
    tmp_path: Path,
) -> None:
    """While the repository was away; its next life gets the file as one that was delivered once."""
    house = House(tmp_path)
    house.ring.run(lambda: any(house.ring.told("lease_taken")))
    publish_once(house, job_file(None))
    house.ring.run(lambda: finished(house))
    wait(house, 1000.0)
    house.ring.kill(REPOSITORY)
    publish_once(house, job_file(None))
    wait(house, 5.0)
    house.ring.kill(CONTROLLER)
    for name in (CONTROLLER, REPOSITORY):
        house.ring.start(name)
    house.ring.run(lambda: finished(house, 2))
    wait(house, 100.0)
    assert house.ring.broker.waiting(CONTROLLER) == []
    house.close()


@pytest.mark.parametrize("job", ["job-1", None], ids=["named", "without an id"])
@pytest.mark.parametrize("seed", range(40))
def test_a_job_published_once_is_accepted_once_whatever_dies(
    seed: int, job: str | None, tmp_path: Path
) -> None:
    """The controller is killed at any of its steps, and a standby may take over; QoS 1 holds."""
    chance = Random(f"requests {seed}")
    house = House(tmp_path, seed=seed, agents=2, controllers=chance.choice([1, 2]))
    ring, left = house.ring, chance.randint(1, 25)
    victims = [name for name in ring.hosts if name.startswith("controller")] + [REPOSITORY]
    victim = chance.choice(victims)

    def on_step(host: str, step: str) -> None:
        nonlocal left
        if host == victim and step not in ("woke", "received:Heartbeat", "received:NodeState"):
            left -= 1
            if left == 0:
                ring.kill_before_actions(victim)
                ring.at(ring.now, lambda: ring.kill(victim))
                ring.at(ring.now + chance.uniform(0.1, 40.0), lambda: ring.start(victim))

    ring.on_step = on_step
    # Sessions begin with the first login: before that nobody can keep anything.
    ring.run(lambda: all(ring.hosts[name].connected for name in victims))
    ring.at(ring.now + chance.uniform(0.0, 5.0), lambda: publish_once(house, job_file(job)))
    ring.run(lambda: finished(house), 900.0)
    ring.run(lambda: ring.now > 200.0)
    assert not any(ring.broker.waiting(name) for name in victims), f"seed {seed}"
    with house.store() as store:
        assert len([one for one in store.history() if one.record is not None]) == 1, f"seed {seed}"
    house.close()
