"""Storm of a strategy: a run of the ring whose agents train, with faults drawn from one seed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fedbus.simulation.control_variates import check_control_variates
from fedbus.simulation.network_faults import NO_FAULTS, ROUGH_LINKS
from fedbus.simulation.oracle import check_records
from fedbus.simulation.ring import Killed
from fedbus.simulation.services import COLLECTOR, CONTROLLER, REPOSITORY
from tests.ring.ring_cluster import RingCluster, fault_rng
from tests.ring.storm import MOST_FAULTS, SIZES, kill, plan_a_fault

AGENTS = 5
STRATEGIES: Mapping[str, Mapping[str, object]] = {
    "fedavg": {},
    "fedadam": {},
    "multi-krum": {},
    "scaffold": {"population": AGENTS},
}
COLLECTORS = (COLLECTOR, "collector.2")
SERVICES_OF_ROUNDS = (*COLLECTORS, *COLLECTORS, REPOSITORY, REPOSITORY, CONTROLLER)
POINTS = {
    "agent": {
        "own:save_pending": 3,
        "outbox:save": 3,
        "outbox:saved": 3,
        "send:Offer": 3,
        "received:Receipt": 3,
        "own:settle": 3,
        "outbox:remove": 3,
        "ran:UpdateRemoval": 3,
    },
    "collector": {
        "ran:FoldRun": 3,
        "run:AggregateRun": 2,
        "ran:AggregateRun": 2,
        "send:Commit": 2,
        "received:Committed": 2,
        "send:Receipt": 6,
        "send:RoundEnded": 2,
    },
    "repository": {
        "ran:StorePlan": 3,
        "received:Commit": 3,
        "fetched:Commit": 3,
        "store:write": 6,
        "store:rename": 4,
        "store:insert": 8,
        "ran:Commit": 3,
        "send:Committed": 3,
    },
    "controller": {
        "received:PlanStored": 3,
        "send:TrainTask": 8,
        "received:RoundEnded": 3,
    },
}
"""Steps at which a process is killed, by role, each with the most times it may come before."""
ON_DISK = ("own:", "residual:", "outbox:", "store:", "journal:")
"""Steps in the middle of a call; before other steps, the service has performed what it decided."""


Points = Mapping[str, Mapping[str, int]]


def strategy_storm(folder: Path, seed: int, strategy: str) -> RingCluster:
    """Run one job with faults until it has ended; each run kills processes at up to three steps."""
    cluster, rounds = rough_cluster(folder, seed, POINTS)
    run_strategy(cluster, strategy, rounds)
    return cluster


def rough_cluster(
    folder: Path, seed: int, steps_of: Points, sizes: Sequence[int] = SIZES
) -> tuple[RingCluster, int]:
    """Return a cluster with planned faults, and the number of rounds to run on it.

    `sizes` are those of which the model has one.
    """
    rng = fault_rng(seed)
    cluster = RingCluster(
        folder,
        seed=seed,
        agents=AGENTS,
        evaluators=rng.randint(0, 1),
        collectors=2,
        numbers=rng.choice(sizes),
        faults=rng.choice([NO_FAULTS, ROUGH_LINKS, ROUGH_LINKS]),
        trains=True,
    )
    for _ in range(rng.randint(0, MOST_FAULTS)):
        plan_a_fault(cluster, rng)
    for _ in range(rng.randint(1, 3)):
        victim = rng.choice([*cluster.agents, *cluster.agents[:2], *SERVICES_OF_ROUNDS])
        points = steps_of[victim.partition(".")[0]]
        step = rng.choice(sorted(points))
        kill_at(cluster, victim, step, rng.randint(1, points[step]), rng.uniform(0.1, 40.0))
    return cluster, rng.randint(2, 4)


def run_strategy(cluster: RingCluster, strategy: str, rounds: int) -> None:
    """Run one job of a strategy until it has ended."""
    wish = {"deadline_seconds": 20, "quorum": 3}
    cluster.submit(rounds=rounds, wish=wish, strategy={"id": strategy, **STRATEGIES[strategy]})
    cluster.run(seconds=3600)


def check_strategy(cluster: RingCluster, strategy: str, job: str = "job-1") -> None:
    """Check that a job finished, and its records with the oracle."""
    state, updates = cluster.states[job][-1], cluster.records.updates_of(job)
    assert state.phase == "finished", state.reason
    assert cluster.ring.broker.violations == []
    with cluster.store() as store:
        checked = check_records(store, updates)
        assert (checked.rounds, checked.summed) == (state.round, state.round)
        if strategy == "scaffold":
            own = cluster.records.variates_of(job)
            assert check_control_variates(store, job, updates, own) >= 3 * state.round


def kill_at(cluster: RingCluster, victim: str, step: str, count: int, back: float) -> list[str]:
    """Kill a process at the `count`-th step of this name; start it again `back` seconds later.

    `victim` is a host, or a role: then it is the host that comes to this step.

    Returns:
        A list that will have the host, once it is killed.
    """
    before, left, killed = cluster.ring.on_step, count, []

    def on_step(host: str, name: str) -> None:
        nonlocal left
        before(host, name)
        if name != step or victim not in {host, host.partition(".")[0]}:
            return
        left -= 1
        if left:
            return
        killed.append(host)
        if step.startswith(ON_DISK):
            cluster.ring.at(cluster.ring.now + back, lambda: cluster.ring.start(host))
            raise Killed
        cluster.ring.kill_before_actions(host)
        cluster.ring.at(cluster.ring.now, lambda: kill(cluster, host, back))

    cluster.ring.on_step = on_step
    return killed
