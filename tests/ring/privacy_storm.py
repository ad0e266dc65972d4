"""Storm of a private job: a run of the ring whose noise, updates and faults come from one seed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedbus.privacy.noise_key import read_noise_key
from fedbus.simulation.network_faults import NO_FAULTS, ROUGH_LINKS
from fedbus.simulation.private_records import check_private_records
from fedbus.simulation.services import COLLECTOR, CONTROLLER, REPOSITORY
from tests.ring.private_releases import PrivateReleases, check_public, check_releases
from tests.ring.ring_cluster import RingCluster, fault_rng
from tests.ring.storm import plan_a_fault
from tests.ring.strategy_storm import kill_at

AGENTS, COHORT, ROUNDS = 7, 3, 3
NORM = 0.11
"""Clipping norm: shorter than most updates of 200 numbers, and than all of longer models."""
BUDGET_ROUNDS = 6
"""More rounds than the budget allows, so that the job ends with what it had."""
SIZES = (200, 200, 3_000, 70_000)
CENTRAL = {"noise_multiplier": 0.7, "clipping_norm": NORM, "num_sampled_clients": COHORT}
ADAPTIVE = {
    "noise_multiplier": 0.7,
    "init_clip_norm": NORM,
    "clip_count_stddev": 0.6,
    "num_sampled_clients": COHORT,
}
LOCAL = {"epsilon": 8.0, "clipping_norm": 0.5, "num_sampled_clients": COHORT}
POISSON = {"sampling": "poisson"}
MECHANISMS: Mapping[str, Mapping[str, Any]] = {
    "fixed": {"dp-fixed": CENTRAL},
    "adaptive": {"dp-adaptive": ADAPTIVE},
    "banded": {"dp-banded": {**CENTRAL, "min_separation": 2, "max_participations": 3, "bands": 2}},
    "poisson": {"dp-fixed": CENTRAL, "accounting": POISSON},
    "poisson-adaptive": {"dp-adaptive": ADAPTIVE, "accounting": POISSON},
    "metric": {"metric-privacy": CENTRAL},
    "distributed": {"dp-fixed": {**CENTRAL, "server_side_noising": False}},
    "distributed-adaptive": {"dp-adaptive": {**ADAPTIVE, "server_side_noising": False}},
    "ldp-gaussian": {"ldp-gaussian": CENTRAL},
    "ldp-laplace": {"ldp-laplace": LOCAL},
    "ldp-bits": {"ldp-randomized-response": LOCAL},
    "budget": {"dp-fixed": CENTRAL, "accounting": {"target_epsilon": 10.5}},
    "median": {"dp-fixed": CENTRAL},
    "fedadam": {"dp-fixed": CENTRAL},
}
"""Jobs by name; a job of another strategy than fedavg has its name."""
OTHER_STRATEGIES = {"median", "fedadam"}
POINTS: Mapping[str, Mapping[str, int]] = {
    "agent": {
        "outbox:save": 2,
        "outbox:saved": 2,
        "send:Offer": 2,
        "received:Receipt": 2,
        "ran:TrainingWork": 2,
    },
    "collector": {
        "run:NoiseKeyRead": 3,
        "ran:NoiseKeyRead": 3,
        "ran:FoldRun": 3,
        "send:RecordNoise": 3,
        "received:NoiseRecorded": 3,
        "run:AggregateRun": 3,
        "ran:AggregateRun": 3,
        "send:Commit": 3,
        "received:Committed": 3,
        "send:RoundEnded": 2,
    },
    "repository": {
        "received:StorePlan": 4,
        "ran:StorePlan": 4,
        "received:RecordNoise": 3,
        "run:RecordNoise": 3,
        "ran:RecordNoise": 3,
        "send:NoiseRecorded": 3,
        "store:insert": 12,
        "store:write": 4,
        "store:rename": 3,
        "fetched:Commit": 3,
        "ran:Commit": 3,
        "send:Committed": 3,
    },
    "controller": {
        "send:StorePlan": 3,
        "received:PlanStored": 3,
        "send:OpenRound": 3,
        "send:TrainTask": 6,
        "received:RoundEnded": 3,
    },
}
"""Steps at which a process is killed, by role, each with the most times it may come before."""
COLLECTORS = (COLLECTOR, "collector.2")
VICTIMS = (*COLLECTORS, *COLLECTORS, REPOSITORY, REPOSITORY, CONTROLLER)


def private_cluster(folder: Path, seed: int, **more: Any) -> tuple[RingCluster, PrivateReleases]:  # noqa: ANN401 - of RingCluster
    """Start a cluster of agents that protect their updates, and record what leaves it."""
    cluster = RingCluster(folder, seed=seed, agents=AGENTS, collectors=2, private=True, **more)
    return cluster, PrivateReleases(cluster)


def privacy_storm(folder: Path, seed: int, name: str) -> tuple[RingCluster, PrivateReleases]:
    """Run one private job with faults until it has ended."""
    rng = fault_rng(seed)
    faults = rng.choice([NO_FAULTS, ROUGH_LINKS])
    cluster, releases = private_cluster(
        folder, seed, numbers=rng.choice(SIZES), evaluators=rng.randint(0, 1), faults=faults
    )
    for _ in range(rng.randint(0, 2)):
        plan_a_fault(cluster, rng)
    for _ in range(rng.randint(1, 3)):
        victim = rng.choice([*VICTIMS, *cluster.agents[:2]])
        points = POINTS[victim.partition(".")[0]]
        step = rng.choice(sorted(points))
        kill_at(cluster, victim, step, rng.randint(1, points[step]), rng.uniform(0.1, 40.0))
    run_private(cluster, name)
    return cluster, releases


def run_private(cluster: RingCluster, name: str, job: str = "job-1") -> None:
    """Run one job of a mechanism until it has ended."""
    strategy = name if name in OTHER_STRATEGIES else "fedavg"
    poisson = MECHANISMS[name].get("accounting") == POISSON
    more: dict[str, Any] = {
        "privacy-mechanisms": MECHANISMS[name],
        "strategy": {"id": strategy, **({"population": AGENTS} if poisson else {})},
    }
    wish = {"agents": None, "quorum": 0 if poisson else 2, "deadline_seconds": 20}
    rounds = BUDGET_ROUNDS if name == "budget" else ROUNDS
    cluster.submit(job, rounds=rounds, wish=wish, **more)
    cluster.run(job, seconds=cluster.ring.now + 3600)


def check_private(cluster: RingCluster, releases: PrivateReleases, job: str = "job-1") -> None:
    """Check that a job finished, its records, its ledger, and what users can read."""
    state = cluster.states[job][-1]
    assert state.phase == "finished", f"{state.reason} {cluster.answers}"
    assert cluster.ring.broker.violations == []
    assert state.version is not None
    shown = releases.shown(state.version)
    with cluster.store() as store:
        key = read_noise_key(cluster.noise_key)
        checked = check_private_records(store, cluster.records.updates_of(job), key)
        assert (checked.rounds, checked.summed) == (state.round, state.round)
        check_releases(releases, store, job)
        check_public(releases, shown, store, job)
