"""Jobs with thin downloads, freezing and synchronization in storms: the oracle checks every round.

A failure names its job and seed: `FEDBUS_RING_SEED=17 pytest tests/ring/test_thin_rounds.py -k
bits-down` runs it alone. FEDBUS_RING_SEEDS=200 runs that many seeds of each job.
"""

import os
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.model.sections import trained_tensors
from fedbus.mqtt.bus import Packet
from fedbus.simulation.oracle import check_records
from fedbus.simulation.services import CONTROLLER, REPOSITORY
from fedbus.simulation.stored_records import read_frozen, read_weights
from fedbus.wire import codec
from fedbus.wire.messages import TrainTask
from fedbus.wire.messages.transfer import Join
from tests.ring.ring_cluster import RingCluster
from tests.ring.strategy_storm import AGENTS, POINTS, kill_at, rough_cluster

SEEDS = int(os.environ.get("FEDBUS_RING_SEEDS", "4"))
NUMBERS = 5000
"""Too many for weights inside a task."""
SWINGING = [{"learning_rate": 1.9, "batch_size": 64, "epochs": 1}]
"""One step a round, beyond the optimum and back: numbers with such updates are frozen."""
FREEZING = {
    "id": "adaptive-freezing",
    "parameters": {"stability_threshold": 0.6, "moving_average": 0.5, "random_freezing": True},
}
FOUR_BITS = {"id": "quantize", "parameters": {"bits": 4}}
JOBS: Mapping[str, Mapping[str, Any]] = {
    "cast-down": {"download": ["cast"]},
    "bits-down": {"download": [FOUR_BITS, "zstandard"], "strategy": {"id": "fedmedian"}},
    "both-ways": {"download": ["quantize", "zstandard"], "transmitter": ["quantize"]},
    "freezing": {"transmitter": [FREEZING], "config": SWINGING},
    "freezing-adam": {
        "transmitter": [FREEZING],
        "config": SWINGING,
        "strategy": {"id": "fedadam", "parameters": {"server_learning_rate": 0.05}},
    },
    "frozen-bits": {
        "transmitter": [FREEZING, {"id": "top-k", "parameters": {"fraction": 0.5}}, FOUR_BITS],
        "download": ["quantize"],
        "config": SWINGING,
    },
    "sync": {
        "transmitter": [{"id": "adaptive-sync", "parameters": {"sync_frequency": 3}}],
        "download": ["quantize"],
    },
}
THIN_POINTS = {
    **POINTS,
    "collector": {
        **POINTS["collector"],
        "ran:FrozenCheck": 2,
        "send:Commit": 3,
    },
}


def _seeds() -> range:
    only = os.environ.get("FEDBUS_RING_SEED")
    return range(SEEDS) if only is None else range(int(only), int(only) + 1)


def run(cluster: RingCluster, job: str, rounds: int) -> None:
    """Run one job until it has ended."""
    cluster.submit(rounds=rounds, wish={"deadline_seconds": 20, "quorum": 3}, **JOBS[job])
    cluster.run(seconds=3600)


def check(cluster: RingCluster) -> None:
    """Check that the job finished, and all its rounds."""
    state, updates = cluster.states["job-1"][-1], cluster.records.updates_of("job-1")
    assert state.phase == "finished", state.reason
    assert cluster.ring.broker.violations == []
    with cluster.store() as store:
        checked = check_records(store, updates)
        assert (checked.rounds, checked.summed) == (state.round, state.round)


@pytest.mark.parametrize("job", JOBS)
def test_no_fault_makes_another_round(job: str, tmp_path: Path) -> None:
    """Versions, thin blobs, frozen bits and arrays are those that follow from the updates."""
    for seed in _seeds():
        folder = tmp_path / str(seed)
        cluster, rounds = rough_cluster(folder, seed, THIN_POINTS, (NUMBERS,))
        run(cluster, job, max(rounds, 4))
        try:
            check(cluster)
        except Exception as error:
            raise AssertionError(f"{job}, seed {seed}: {error}") from error
        cluster.close()


@pytest.mark.parametrize("step", ["ran:FrozenCheck", "run:AggregateRun", "send:Commit"])
def test_a_killed_collector_freezes_the_same_numbers(step: str, tmp_path: Path) -> None:
    """Another one continues from the arrays that are stored."""
    cluster = RingCluster(
        tmp_path, seed=3, agents=AGENTS, collectors=2, trains=True, numbers=NUMBERS
    )
    killed = kill_at(cluster, "collector", step, 1, 3.0)
    run(cluster, "freezing", 5)
    check(cluster)
    assert killed
    cluster.close()


def test_frozen_numbers_keep_their_value_and_are_not_sent(tmp_path: Path) -> None:
    """In each round they are those of the version before, and updates are that much smaller."""
    cluster = RingCluster(tmp_path, seed=1, agents=3, trains=True, numbers=NUMBERS)
    run(cluster, "freezing", 8)
    check(cluster)
    updates, held = cluster.records.updates_of("job-1"), 0
    with cluster.store() as store:
        history = list(store.history())
        for before, each in pairwise(history):
            layout, old = read_weights(store, before.version)
            _, new = read_weights(store, each.version)
            bits = read_frozen(store, before.record, layout)
            names = [tensor.name for tensor in trained_tensors(layout)]
            assert each.record is not None
            sizes = {len(updates[one.agent, one.task]) for one in each.record.contributors}
            if bits is None:
                continue
            frozen = bits.read(0, bits.numbers)
            same = np.concatenate([(old[name] == new[name]).ravel() for name in names])
            assert same[frozen].all()
            held += bits.count
            assert max(sizes) <= 4 * (bits.numbers - bits.count) + 256
    assert held > 0
    cluster.close()


def test_agents_fetch_the_thin_blobs_and_evaluators_the_versions(tmp_path: Path) -> None:
    """The version that was pushed has no thin blob; no agent trains from the last one."""
    cluster = RingCluster(tmp_path, seed=1, agents=3, trains=True, numbers=NUMBERS)
    joined: dict[str, set[str]] = {"train": set(), "evaluate": set()}

    def published(host: str, packet: Packet) -> None:
        if packet.topic.endswith(f"/{REPOSITORY}/join"):
            role = "train" if host in cluster.agents else "evaluate"
            if host.startswith("agent."):
                joined[role].add(codec.unpack(Join, packet.payload).digest)

    cluster.ring.on_publish = published
    run(cluster, "bits-down", 4)
    check(cluster)
    with cluster.store() as store:
        history = list(store.history())
    thin = [each.record.thin for each in history if each.record is not None]
    smaller = {each.blob.digest for each in thin[:-1] if each is not None}
    assert len(smaller) == 3
    spec, first = history[0].version.spec.digest, history[0].version.weights.digest
    assert joined["train"] - {spec} == smaller | {first}
    assert joined["evaluate"] - {spec} == {each.version.weights.digest for each in history[1:]}
    cluster.close()


def test_tasks_have_the_epochs_that_the_state_says(tmp_path: Path) -> None:
    """Once updates swing, each round has half the epochs of the one before, until one is left."""
    cluster = RingCluster(tmp_path, seed=2, agents=3, trains=True)
    asked: dict[int, set[int]] = {}

    def published(host: str, packet: Packet) -> None:
        if host == CONTROLLER and packet.topic.endswith("/train_task"):
            task = codec.unpack(TrainTask, packet.payload)
            asked.setdefault(task.round, set()).add(task.params.epochs)

    cluster.ring.on_publish = published
    parameters = {"sync_frequency": 5, "window": 1, "warm_up": 0}
    cluster.submit(
        rounds=9, config=SWINGING, transmitter=[{"id": "adaptive-sync", "parameters": parameters}]
    )
    cluster.run()
    check(cluster)
    with cluster.store() as store:
        records = [each.record for each in store.history() if each.record is not None]
    states = [each.state for each in records]
    expected = [5, *(int(each.numbers["sync_epochs"]) for each in states[:-1] if each is not None)]
    assert [asked[number] for number in range(1, 10)] == [{epochs} for epochs in expected]
    assert expected[0] > expected[-1]
    cluster.close()
