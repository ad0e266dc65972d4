"""Storm of an encrypted or masked job: a run of the ring with faults, all from one seed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from fedbus.privacy.noise_key import read_noise_key
from fedbus.simulation.encrypted_records import check_encrypted_records
from fedbus.simulation.masked_records import readable_updates
from fedbus.simulation.masked_sums import check_masked_sums
from fedbus.simulation.network_faults import NO_FAULTS, ROUGH_LINKS, NetworkFaults
from fedbus.simulation.oracle import check_records
from fedbus.simulation.private_records import check_private_records
from fedbus.simulation.services import COLLECTOR, CONTROLLER, REPOSITORY
from fedbus_repository.stores.sqlite.store import SqliteStore
from tests.ring.masked_storm import MASKED
from tests.ring.masked_storm import POINTS as MASKED_POINTS
from tests.ring.private_releases import check_releases
from tests.ring.protected_releases import ProtectedReleases
from tests.ring.ring_cluster import RingCluster, fault_rng
from tests.ring.storm import SECONDS, plan_a_fault
from tests.ring.strategy_storm import kill_at
from tests.sample_encryption import BITS, sample_key

Points = Mapping[str, Mapping[str, int]]

ROUNDS = 2
SIZES = (200, 200, 200, 3_000)
FROZEN = 0.3
"""The share of storms in which a process stands still for a while."""
VERY_ROUGH_LINKS = NetworkFaults(loss=0.08, duplication=0.1, reordering=0.1)
"""Most rounds have a step that is asked or answered twice, and messages in another order."""
WISH = {"agents": 5, "quorum": 4, "deadline_seconds": 20}
COHORT, NORM = 4, 0.5
PRIVATE_WISH = {"agents": None, "quorum": 3, "deadline_seconds": 20}
CENTRAL = {"noise_multiplier": 0.7, "clipping_norm": NORM, "num_sampled_clients": COHORT}
ADAPTIVE = {
    "noise_multiplier": 0.7,
    "init_clip_norm": NORM,
    "clip_count_stddev": 2.4,
    "num_sampled_clients": COHORT,
}
ENCRYPTED = {"homomorphic": {"bits": BITS}}
LEDGER_POINTS: Points = {
    "collector": {"send:RecordNoise": 2, "received:NoiseRecorded": 2},
    "repository": {"run:RecordNoise": 2, "ran:RecordNoise": 2, "send:NoiseRecorded": 2},
}
ENCRYPTED_POINTS: Points = {
    "agent": {
        "received:TrainTask": 2,
        "ran:TrainingWork": 2,
        "outbox:save": 2,
        "outbox:saved": 2,
        "send:Offer": 2,
        "received:Receipt": 2,
        "outbox:remove": 2,
    },
    "collector": {
        "received:OpenRound": 2,
        "received:Offer": 5,
        "run:FoldRun": 5,
        "ran:FoldRun": 5,
        "run:AggregateRun": 2,
        "ran:AggregateRun": 2,
        "send:Commit": 2,
        "received:Committed": 2,
        "send:Receipt": 5,
        "send:RoundEnded": 2,
    },
    "repository": MASKED_POINTS["repository"],
    "controller": MASKED_POINTS["controller"],
}
"""Steps at which a process is killed, by role, each with the most times it may come before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectedJob:
    """A job of a storm.

    Attributes:
        share: Its part of all seeds.
        mechanisms: Of its job file.
        strategy: Of its job file.
        agents: Agents of its cluster.
    """

    share: int
    mechanisms: Mapping[str, Mapping[str, Any]]
    strategy: str = "fedavg"
    agents: int = 5

    @property
    def is_encrypted(self) -> bool:
        """Whether its updates are encrypted; else they are masked."""
        return "homomorphic" in self.mechanisms

    @property
    def is_private(self) -> bool:
        """Whether it has a ledger."""
        return len(self.mechanisms) > 1

    @property
    def points(self) -> Points:
        """The steps at which its processes are killed."""
        points = ENCRYPTED_POINTS if self.is_encrypted else MASKED_POINTS
        if not self.is_private:
            return points
        return {role: {**steps, **LEDGER_POINTS.get(role, {})} for role, steps in points.items()}


BANDED = {**CENTRAL, "min_separation": 2, "max_participations": 3, "bands": 2}
JOBS: Mapping[str, ProtectedJob] = {
    "masked": ProtectedJob(share=24, mechanisms=MASKED),
    "masked-fedadam": ProtectedJob(share=16, mechanisms=MASKED, strategy="fedadam"),
    "masked-dp": ProtectedJob(share=12, mechanisms={**MASKED, "dp-fixed": CENTRAL}),
    "masked-dp-adaptive": ProtectedJob(share=8, mechanisms={**MASKED, "dp-adaptive": ADAPTIVE}),
    "masked-dp-collector": ProtectedJob(
        share=6, mechanisms={**MASKED, "dp-fixed": {**CENTRAL, "server_side_noising": True}}
    ),
    "masked-dp-banded": ProtectedJob(share=4, mechanisms={**MASKED, "dp-banded": BANDED}, agents=9),
    "encrypted": ProtectedJob(share=18, mechanisms=ENCRYPTED),
    "encrypted-dp": ProtectedJob(share=8, mechanisms={**ENCRYPTED, "dp-fixed": CENTRAL}),
    "encrypted-dp-adaptive": ProtectedJob(
        share=4, mechanisms={**ENCRYPTED, "dp-adaptive": ADAPTIVE}
    ),
}
"""Jobs by name; their shares are per cent."""


@dataclass(slots=True)
class ProtectedRun:
    """A finished run of one job.

    Attributes:
        cluster: Its cluster, which is to be closed.
        releases: What left its nodes.
        kills: The planned kills, each with its step, and the host once it is killed.
    """

    job: ProtectedJob
    cluster: RingCluster
    releases: ProtectedReleases
    kills: list[tuple[str, list[str]]] = field(default_factory=list)


def protected_run(folder: Path, seed: int, job: ProtectedJob, **more: Any) -> ProtectedRun:  # noqa: ANN401 - of RingCluster
    """Start a cluster for a job."""
    sealed = {"encrypted": True} if job.is_encrypted else {"masked": True}
    given = {"agents": job.agents, "evaluators": 0, "numbers": 200, **sealed, **more}
    cluster = RingCluster(folder, seed=seed, **given)
    return ProtectedRun(job, cluster, ProtectedReleases(cluster, is_private=job.is_private))


def finish(run: ProtectedRun, rounds: int = ROUNDS) -> None:
    """Submit the job, and run until it has ended."""
    job, cluster = run.job, run.cluster
    keys: dict[str, Any] = {
        "privacy-mechanisms": job.mechanisms,
        "strategy": {"id": job.strategy},
        "wish": PRIVATE_WISH if job.is_private else WISH,
    }
    cluster.submit(rounds=rounds, **keys)
    cluster.run(seconds=cluster.ring.now + 1800)


def protected_storm(folder: Path, seed: int, job: ProtectedJob) -> ProtectedRun:
    """Run a job with faults until it has ended."""
    rng = fault_rng(seed)
    run = protected_run(
        folder,
        seed,
        job,
        numbers=rng.choice(SIZES),
        collectors=rng.randint(1, 2),
        faults=rng.choice([NO_FAULTS, ROUGH_LINKS, VERY_ROUGH_LINKS]),
    )
    for _ in range(rng.randint(0, 2)):
        plan_a_fault(run.cluster, rng)
    for _ in range(rng.randint(1, 3)):
        _plan_a_kill(run, rng)
    if rng.random() < FROZEN:
        _plan_a_freeze(run, rng)
    finish(run)
    return run


def _plan_a_freeze(run: ProtectedRun, rng: Random) -> None:
    """Plan that a process stands still, and goes on after others have given it up."""
    ring, victim = run.cluster.ring, rng.choice([COLLECTOR, *run.cluster.agents])
    seconds = rng.uniform(1.0, 40.0)
    ring.at(rng.uniform(0.0, SECONDS), lambda: ring.freeze(victim, seconds))


def _plan_a_kill(run: ProtectedRun, rng: Random) -> None:
    """Plan a kill at one of the job's steps."""
    agents = run.cluster.agents
    victim = rng.choice([COLLECTOR, COLLECTOR, "collector", *agents[:4], REPOSITORY, CONTROLLER])
    points = run.job.points[victim.partition(".")[0]]
    step = rng.choice(sorted(points))
    at = rng.randint(1, points[step])
    killed = kill_at(run.cluster, victim, step, at, rng.uniform(0.1, 15.0))
    run.kills.append((step, killed))


def check_protected(run: ProtectedRun, name: str = "job-1") -> None:
    """Check that the job finished, what left its nodes, its versions and its ledger."""
    cluster, job = run.cluster, run.job
    state = cluster.states[name][-1]
    run.releases.check()
    assert state.phase == "finished", f"{state.reason} {cluster.answers}"
    assert cluster.ring.broker.violations == []
    with cluster.store() as store:
        found = _check_encrypted(run, store) if job.is_encrypted else _check_masked(run, store)
        assert found == (state.round, state.round)
        if job.is_private:
            check_releases(run.releases.private, store, name)


def _check_encrypted(run: ProtectedRun, store: SqliteStore) -> tuple[int, int]:
    if run.job.is_private:
        check_private_records(store, {}, read_noise_key(run.cluster.noise_key))
    checked = check_encrypted_records(store, run.cluster.sealed, sample_key())
    return checked.rounds, checked.summed


def _check_masked(run: ProtectedRun, store: SqliteStore) -> tuple[int, int]:
    masked = run.cluster.records.masked_of("job-1")
    exact = check_masked_sums(store, masked, job="job-1")
    updates = readable_updates(store, masked, job="job-1")
    if run.job.is_private:
        checked = check_private_records(store, updates, read_noise_key(run.cluster.noise_key))
    else:
        checked = check_records(store, updates)
    assert exact in {0, checked.rounds}
    return checked.rounds, checked.summed
