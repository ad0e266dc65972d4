"""Strategies with state, over all services: kept from job to job only if a job asks for it."""

from pathlib import Path

import pytest

from fedbus.jobs import read_refusal
from fedbus.simulation.services import CONTROLLER
from tests.ring.ring_cluster import RingCluster, fault_rng

ADAM = {"id": "FedAdam", "parameters": {"server_lr": "0.05"}}


def run(cluster: RingCluster, job: str, strategy: object) -> str:
    """Submit a job of two rounds, and wait for its end or its refusal; return the fault."""
    cluster.ring.run(lambda: any(cluster.ring.noted("lease_taken")))
    cluster.submit(job, rounds=2, strategy=strategy, again=False)
    cluster.ring.run(lambda: cluster.ended(job) or bool(refusal(cluster, job)), 900.0)
    assert refusal(cluster, job) or cluster.states[job][-1].phase == "finished"
    return refusal(cluster, job)


def refusal(cluster: RingCluster, job: str) -> str:
    """Return the fault of a refused job; "" if it is accepted."""
    for answer in cluster.answers:
        if answer.get("job") == job and not answer["accepted"]:
            (fault,) = read_refusal(answer)
            return str(fault)
    return ""


def ages(cluster: RingCluster) -> list[tuple[str, int]]:
    """Return each committed round's job, and how many rounds its state has gone through."""
    with cluster.store() as store:
        records = [entry.record for entry in store.history() if entry.record is not None]
    return [(each.job, each.state.rounds) for each in records if each.state is not None]


def test_a_job_continues_the_state_of_the_same_strategy_only(tmp_path: Path) -> None:
    """However the file spells it; without `continue_state` the state begins again."""
    cluster = RingCluster(tmp_path)
    assert not run(cluster, "first", ADAM)
    same = {"id": "fedadam", "parameters": {"eta": 0.05}, "continue_state": True}
    assert not run(cluster, "second", same)
    other = run(cluster, "third", {**same, "parameters": {"eta": 0.06}})
    assert other.startswith("strategy.continue_state: ")
    assert "server_learning_rate" in other
    assert not run(cluster, "fourth", ADAM)
    assert ages(cluster) == [
        *(("first", 1), ("first", 2)),
        *(("second", 3), ("second", 4)),
        *(("fourth", 1), ("fourth", 2)),
    ]
    assert {state.strategy for states in cluster.states.values() for state in states} == {"fedadam"}
    cluster.close()


@pytest.mark.parametrize("seed", range(3))
def test_killed_controllers_change_nothing_of_the_state(tmp_path: Path, seed: int) -> None:
    """The plan has the state, and the repository compares it with the version's."""
    cluster = RingCluster(tmp_path, seed=seed)
    assert not run(cluster, "first", ADAM)
    rng = fault_rng(seed)
    for _ in range(3):
        cluster.ring.at(cluster.ring.now + rng.uniform(0, 12), lambda: restart(cluster))
    assert not run(cluster, "second", {**ADAM, "continue_state": True})
    assert ages(cluster)[2:] == [("second", 3), ("second", 4)]
    cluster.close()


def restart(cluster: RingCluster) -> None:
    """Kill the controller, and start it again."""
    cluster.ring.kill(CONTROLLER)
    cluster.ring.start(CONTROLLER)
