"""Storm: a run of the ring with faults drawn from one seed."""

from pathlib import Path
from random import Random

from fedbus.simulation.network_faults import NO_FAULTS, ROUGH_LINKS
from fedbus.simulation.services import SERVICES
from tests.ring.ring_cluster import RingCluster, fault_rng

MOST_FAULTS = 6
SECONDS = 8.0
SIZES = (200, 200, 3_000, 3_000, 3_000, 70_000, 150_000)
"""Numbers in the model: from an update inside the offer to one of three chunks."""


def storm(folder: Path, seed: int) -> RingCluster:
    """Run one job with faults until it has ended."""
    rng = fault_rng(seed)
    cluster = RingCluster(
        folder,
        seed=seed,
        agents=rng.randint(2, 5),
        evaluators=rng.randint(0, 2),
        numbers=rng.choice(SIZES),
        faults=rng.choice([NO_FAULTS, ROUGH_LINKS, ROUGH_LINKS]),
    )
    for _ in range(rng.randint(1, MOST_FAULTS)):
        plan_a_fault(cluster, rng)
    cluster.submit(rounds=rng.randint(1, 3), wish={"deadline_seconds": 20})
    cluster.run(seconds=1800)
    return cluster


def plan_a_fault(cluster: RingCluster, rng: Random) -> None:
    """Plan a kill, a cut connection or a restart of the broker."""
    ring = cluster.ring
    victim = rng.choice([*SERVICES, *ring.hosts])
    back = rng.uniform(0.1, 8.0)
    match rng.choice(["time", "step", "step", "cut", "broker"]):
        case "time":
            ring.at(rng.uniform(0, SECONDS), lambda: kill(cluster, victim, back))
        case "step":
            kill_at_step(cluster, victim, rng.randint(2, 40), back)
        case "cut":
            ring.at(rng.uniform(0, SECONDS), lambda: _cut(cluster, victim, back))
        case "broker":
            ring.at(rng.uniform(0, SECONDS), ring.restart_broker)


def kill(cluster: RingCluster, victim: str, back: float) -> None:
    """Kill a service, if it runs; start it again after `back` seconds."""
    if cluster.ring.hosts[victim].node is not None:
        cluster.ring.kill(victim)
        cluster.ring.at(cluster.ring.now + back, lambda: cluster.ring.start(victim))


def _cut(cluster: RingCluster, victim: str, back: float) -> None:
    if cluster.ring.hosts[victim].node is not None:
        cluster.ring.cut(victim)
        cluster.ring.reconnect(victim, back)


def kill_at_step(cluster: RingCluster, victim: str, count: int, back: float) -> None:
    """Kill a service at its `count`-th step, before the actions of that step are performed."""
    before, left = cluster.ring.on_step, count

    def on_step(host: str, step: str) -> None:
        nonlocal left
        before(host, step)
        if host == victim and step not in ("woke", "received:Heartbeat"):
            left -= 1
            if left == 0:
                cluster.ring.kill_before_actions(victim)
                cluster.ring.at(cluster.ring.now, lambda: kill(cluster, victim, back))

    cluster.ring.on_step = on_step
