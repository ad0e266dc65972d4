"""Duration of rounds without training, compared with Flower where it is installed.

    python -m benchmarks.round --agents 10 --parameters 250000 --rounds 30
    python -m benchmarks.round … --peer .peers/bin/python      see peers/README.md
    python -m benchmarks.round --agents 5 --slow-agent 1       one agent at 1 Mbit/s, and without it
    python -m benchmarks.round --mongo     the repository on MongoDB's test server, and on a folder

Seconds are counted from the opening of a round (its plan is stored) to the aggregate, and to the
commit; `planning` is the time to store the plan before. The first round of each block is ignored:
in it agents fetch the model's spec. With a peer, both run in turn, block by block.
"""

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from benchmarks.cluster import REPOSITORY, Cluster, Wish, push, rounds, run
from benchmarks.measure import MB, middle, publish
from benchmarks.mongo_server import mongo_server
from benchmarks.peer import Peer
from fedbus.mqtt.mosquitto import free_port

SLOW_BITS = 1e6


def names(count: int) -> list[str]:
    """List the names of the agents."""
    return [f"agent.light-{number}" for number in range(count)]


def patience(parameters: int, agents: int, count: int) -> float:
    """Return a generous limit for the duration of a job, in seconds."""
    return 120.0 + count * (2.0 + agents * parameters * 4 / 20e6)


def alternate(options: argparse.Namespace) -> dict[str, Any]:
    """Run blocks of rounds, the peer's and ours in turn, on one cluster."""
    agents, parameters = options.agents, options.parameters
    per_block = -(-options.rounds // options.blocks) + 1
    planning: list[float] = []
    aggregate: list[float] = []
    commit: list[float] = []
    peers: list[float] = []
    peer_cpu = 0.0
    cpu: dict[str, float] = {}
    with ExitStack() as stack:
        per_process = 1 if agents <= 10 else 125
        cluster = stack.enter_context(Cluster(names(agents), per_process))
        other: Peer | None = None
        if options.peer:
            total = per_block * options.blocks + 2  # more than are run: it is killed at the end
            other = stack.enter_context(Peer(options.peer, agents, parameters, total))
            other.block(1)  # wait until all clients are connected
        model = asyncio.run(push(cluster, parameters))
        broker_bytes = []
        for block in range(options.blocks):
            if other is not None:
                before_peer = other.cpu()
                taken = other.block(per_block)
                peer_cpu += other.cpu() - before_peer
                peers += taken[1:]
            before = cluster.cpu()
            wish = Wish(f"bench-{block}", per_block, agents, agents)
            limit = patience(parameters, agents, per_block)
            broker_bytes.append(asyncio.run(run(cluster, wish, limit)))
            found = rounds(cluster, wish.job)
            planning += found.planned
            aggregate += found.aggregate
            commit += found.commit
            for name, seconds in cluster.cpu().items():
                cpu[name] = cpu.get(name, 0.0) + seconds - before[name]
        peer_peak = other.peak_mb() if other is not None else 0.0
        peaks = cluster.peaks()
        stopped = cluster.end(REPOSITORY).traffic()
        complaints = cluster.complaints() if options.logs else ""
    sys.stderr.write(complaints)
    result: dict[str, Any] = {
        "agents": agents,
        "parameters": parameters,
        "rounds": len(commit),
        "planning": middle(planning),
        "opening_to_aggregate": middle(aggregate),
        "opening_to_commit": middle(commit),
        "cpu_ms": {
            name: round(seconds * 1000 / (per_block * options.blocks), 2)
            for name, seconds in cpu.items()
        },
        "peak_mb": peaks,
        "repository_models_per_round": round(
            stopped["sent_bytes"] / model / (per_block * options.blocks), 3
        ),
        "all_aggregate": aggregate,
        "all_commit": commit,
    }
    if len(broker_bytes) > 1:
        between = (broker_bytes[-1] - broker_bytes[0]) / (per_block * (options.blocks - 1))
        result["broker_models_per_round"] = round(between / model, 2)
    if peers:
        result["peer"] = middle(peers)
        result["peer_cpu_ms"] = round(peer_cpu * 1000 / (per_block * options.blocks), 2)
        result["peer_peak_mb"] = peer_peak
        result["of_peer"] = round(middle(aggregate, 6) / middle(peers, 6), 2)
        result["collector_of_peer_peak"] = round(peaks["collector.1"] / peer_peak, 3)
        result["all_peer"] = peers
    return result


@contextmanager
def slow_link(port: int, broker: int) -> Iterator[None]:
    """Run a slow proxy in front of the broker in this block."""
    where = ["--listen", str(port), "--to", f"127.0.0.1:{broker}", "--bits", str(SLOW_BITS)]
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.proxy", *where])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def slowed(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the time to a quorum of all agents but one, with that one slow and with it fast.

    Two clusters run side by side, and work in turn.
    """
    kinds = ("fast", "slow")
    quorum: dict[str, list[float]] = {kind: [] for kind in kinds}
    per_block = -(-options.rounds // options.blocks) + 1
    limit = patience(options.parameters, options.agents, per_block)
    limit += per_block * (options.deadline + 5.0)
    with ExitStack() as stack:
        rings = {}
        for kind in kinds:
            agents, port = names(options.agents), free_port()
            behind = {agents[-1]: port} if kind == "slow" else {}
            rings[kind] = stack.enter_context(Cluster(agents, behind=behind))
            stack.enter_context(slow_link(port, rings[kind].broker.port))
            asyncio.run(push(rings[kind], options.parameters))
        for block in range(options.blocks):
            for kind, ring in rings.items():
                few = options.agents - 1
                wish = Wish(f"bench-{block}", per_block, options.agents, few, options.deadline)
                asyncio.run(run(ring, wish, limit))
                quorum[kind] += rounds(ring, wish.job).quorum
        peaks = rings["slow"].peaks()
    return {
        "agents": options.agents,
        "parameters": options.parameters,
        "rounds": len(quorum["slow"]),
        "quorum_with_slow": middle(quorum["slow"]),
        "quorum_without": middle(quorum["fast"]),
        "of_without": round(middle(quorum["slow"], 6) / middle(quorum["fast"], 6), 2),
        "peak_mb": peaks,
        "all_with_slow": quorum["slow"],
        "all_without": quorum["fast"],
    }


def stores(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the time to store a plan, and from the aggregate to the commit, on both stores.

    Two clusters run side by side, and work in turn. MongoDB's figures are those of a test server.
    """
    kinds = ("folder", "mongo")
    planning: dict[str, list[float]] = {kind: [] for kind in kinds}
    storing: dict[str, list[float]] = {kind: [] for kind in kinds}
    per_block = -(-options.rounds // options.blocks) + 1
    limit = patience(options.parameters, options.agents, per_block)
    with ExitStack() as stack:
        url = stack.enter_context(mongo_server())
        rings = {}
        for kind in kinds:
            settings = {"FEDBUS_STORE": f"{url}/rounds"} if kind == "mongo" else {}
            rings[kind] = stack.enter_context(Cluster(names(options.agents), settings=settings))
            asyncio.run(push(rings[kind], options.parameters))
        for block in range(options.blocks):
            for kind, ring in rings.items():
                wish = Wish(f"bench-{block}", per_block, options.agents, options.agents)
                asyncio.run(run(ring, wish, limit))
                found = rounds(ring, wish.job)
                planning[kind] += found.planned
                both = zip(found.aggregate, found.commit, strict=True)
                storing[kind] += [commit - aggregate for aggregate, commit in both]
        peaks = rings["mongo"].peaks()
    return {
        "agents": options.agents,
        "parameters": options.parameters,
        "rounds": len(storing["mongo"]),
        **{f"plan_{kind}": middle(planning[kind]) for kind in kinds},
        **{f"commit_{kind}": middle(storing[kind]) for kind in kinds},
        "mongo_commit_of_folder": round(
            middle(storing["mongo"], 6) / middle(storing["folder"], 6), 2
        ),
        "peak_mb": peaks,
        **{f"all_commit_{kind}": storing[kind] for kind in kinds},
    }


def row(result: dict[str, Any]) -> dict[str, object]:
    """Return the columns of the table."""
    shown = {
        name: figure
        for name, figure in result.items()
        if name not in {"peak_mb", "cpu_ms"} and not name.startswith("all_")
    }
    peaks = result["peak_mb"]
    spent = result.get("cpu_ms", {}).items()
    return {
        **shown,
        **{f"{name}_cpu_ms": milliseconds for name, milliseconds in spent},
        **{f"{name}_mb": peak for name, peak in peaks.items()},
    }


def main() -> None:
    """Print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--agents", type=int, default=10)
    parser.add_argument("--parameters", type=int, default=250_000)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--blocks", type=int, default=3, help="in turn with the peer")
    parser.add_argument("--peer", metavar="PYTHON", help="an environment with flwr==1.13.1")
    parser.add_argument("--slow-agent", type=int, default=0, choices=[0, 1])
    parser.add_argument("--mongo", action="store_true", help="compare both stores")
    parser.add_argument("--deadline", type=float, default=3.0, help="with a slow agent, seconds")
    parser.add_argument("--logs", action="store_true", help="print the end of the services' logs")
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - is stdout")
    options = parser.parse_args()
    measure = stores if options.mongo else slowed if options.slow_agent else alternate
    result = measure(options)
    publish({"benchmark": "round", **result, "mb": MB}, [row(result)], options.json)


if __name__ == "__main__":
    main()
