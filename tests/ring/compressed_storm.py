"""Storm of a job with compressed updates, and a check of the residuals that its agents kept."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fedbus import compression
from fedbus.model.blob import decode
from fedbus.model.layout import Layout
from fedbus.model.sections import join_section, section_numbers
from fedbus.simulation.oracle import check_records
from fedbus.simulation.stored_records import StoredRecords, read_weights
from fedbus.wire.blobs import Compression
from tests.ring.ring_cluster import RingCluster
from tests.ring.strategy_storm import POINTS, rough_cluster

TOP_K = {"id": "top-k", "parameters": {"fraction": 0.2}}
RANDOM_K = {"id": "random-k", "parameters": {"fraction": 0.3}}
FOUR_BITS = {"id": "quantize", "parameters": {"bits": 4}}
CHAINS: Mapping[str, Sequence[object]] = {
    "zstandard": ["zstandard"],
    "cast": ["cast"],
    "four-bits": [FOUR_BITS, "zstandard"],
    "top-k": [TOP_K],
    "sparse-bits": [TOP_K, "quantize", "zstandard"],
    "random-k": [RANDOM_K, FOUR_BITS],
}
"""The `transmitter` of a job, by a name."""
AGENT_POINTS = {
    "residual:save_pending": 3,
    "outbox:save": 3,
    "outbox:saved": 3,
    "send:Offer": 3,
    "received:Receipt": 3,
    "residual:settle": 3,
    "outbox:remove": 3,
    "ran:UpdateRemoval": 3,
}
COMPRESSED_POINTS = {**POINTS, "agent": AGENT_POINTS}


def compressed_storm(folder: Path, seed: int, chain: str) -> RingCluster:
    """Run one job with faults until it has ended."""
    cluster, rounds = rough_cluster(folder, seed, COMPRESSED_POINTS)
    run_compressed(cluster, chain, rounds)
    return cluster


def run_compressed(cluster: RingCluster, chain: str, rounds: int, strategy: str = "fedavg") -> None:
    """Run one job with a chain until it has ended."""
    wish = {"deadline_seconds": 20, "quorum": 3}
    cluster.submit(rounds=rounds, wish=wish, transmitter=CHAINS[chain], strategy={"id": strategy})
    cluster.run(seconds=3600)


def check_compressed(cluster: RingCluster, job: str = "job-1") -> int:
    """Check that a job finished, its records with the oracle, and the residuals of its agents.

    Returns:
        The number of updates that counted.
    """
    state, updates = cluster.states[job][-1], cluster.records.updates_of(job)
    assert state.phase == "finished", state.reason
    assert cluster.ring.broker.violations == []
    with cluster.store() as store:
        checked = check_records(store, updates)
        assert (checked.rounds, checked.summed) == (state.round, state.round)
        return check_residuals(store, cluster, job)


def check_residuals(store: StoredRecords, cluster: RingCluster, job: str) -> int:
    """Check that each agent sent, or still keeps, exactly what its counted trainings made."""
    rounds = [each for each in store.history() if each.record and each.record.job == job]
    counted: dict[str, list[int]] = {}
    steps: Compression = ()
    for each in rounds:
        assert each.record is not None
        steps = each.record.strategy.compression
        for one in each.record.contributors:
            counted.setdefault(one.agent, []).append(one.task)
    layout, _ = read_weights(store, rounds[-1].version)
    for agent, tasks in counted.items():
        if not compression.loses_numbers(steps):
            assert cluster.records.residual_made == {}
        else:
            _check_agent(cluster, (job, agent), tasks, layout, steps)
    return sum(map(len, counted.values()))


def _check_agent(
    cluster: RingCluster,
    who: tuple[str, str],
    tasks: Sequence[int],
    layout: Layout,
    steps: Compression,
) -> None:
    records, residual = cluster.records, None
    adopted = records.residual_adopted.get(who, [])
    assert adopted == list(tasks)[: len(adopted)], who
    # The receipt of a job's last round may be on its way to an agent that was started again.
    assert len(adopted) >= len(tasks) - 1, who
    made, sent, scale = np.zeros((3, section_numbers(layout)))
    for task in adopted:
        key = (*who, task)
        begun = records.residual_begun[key]
        if begun is None or residual is None:
            assert begun is residual, key
        else:
            assert np.array_equal(begun, residual), key
        update = decode(compression.decode(records.updates[key], layout, steps), layout, "delta")
        trained = records.trained[records.seeds[key]]
        sections = [join_section(arrays, layout) for arrays in (trained, update)]
        made, sent = made + sections[0].astype("f8"), sent + sections[1].astype("f8")
        scale = scale + np.abs(sections[0]) + np.abs(sections[1])
        residual = records.residual_made[key]
    assert (residual is None) == (not adopted)
    if residual is None:
        return
    assert (np.abs(made - sent - residual) <= 1e-5 * scale + 1e-7).all(), who
