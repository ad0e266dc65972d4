"""Benchmark of large sizes: hundreds of agents, and a model of a gigabyte.

    python -m benchmarks.fleet                        500 agents x 100 KB, then 1 GB x 2 agents
    python -m benchmarks.fleet --agents 500 --parameters 25000 --rounds 5
    python -m benchmarks.fleet --agents 2 --parameters 250000000 --rounds 2

Agents train nothing. `sent_per_update` is the number of bytes that agents sent, all messages
included, per byte of all updates: a repeated transfer increases it.
"""

import argparse
import asyncio
from typing import Any

from benchmarks.cluster import COLLECTOR, CONTROLLER, Cluster, Wish, push, rounds, run
from benchmarks.measure import middle, publish

PER_PROCESS = 125
SHAPES = ((500, 25_000, 3), (2, 250_000_000, 2))


def measure(agents: int, parameters: int, count: int, deadline: float) -> dict[str, Any]:
    """Run one job; ignore its first round if there are more."""
    names = [f"agent.light-{number}" for number in range(agents)]
    with Cluster(names, per_process=PER_PROCESS if agents > 10 else 1) as cluster:
        model = asyncio.run(push(cluster, parameters))
        wish = Wish("fleet", count, agents, agents, deadline)
        asyncio.run(run(cluster, wish, 60.0 + count * (deadline + 10.0)))
        found = rounds(cluster, "fleet", skip=int(count > 1))
        peaks = cluster.peaks()
        failed = len(cluster.running[CONTROLLER].notes("round_failed"))
        fleet = [name for name in cluster.running if name.startswith("agents")]
        updates, received = agents * count * model, cluster.end(COLLECTOR).traffic()
        sent = sum(cluster.end(name).traffic()["sent_bytes"] for name in fleet)
    return {
        "agents": agents,
        "model_mb": round(model / 1e6, 1),
        "rounds": len(found.commit),
        "failed": failed,
        "opening_to_aggregate": middle(found.aggregate),
        "opening_to_commit": middle(found.commit),
        "sent_per_update": round(sent / updates, 3),
        "received_per_update": round(received["received_bytes"] / updates, 3),
        "collector_mb": peaks[COLLECTOR],
        "broker_mb": peaks["broker"],
        "all_mb": peaks,
    }


def main() -> None:
    """Print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--agents", type=int)
    parser.add_argument("--parameters", type=int, default=25_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--deadline", type=float, default=600.0, help="of a round, seconds")
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - is stdout")
    options = parser.parse_args()
    one = (options.agents, options.parameters, options.rounds)
    shapes: tuple[tuple[int, int, int], ...] = (one,) if options.agents else SHAPES
    results = [measure(*shape, options.deadline) for shape in shapes]
    rows = [{k: v for k, v in result.items() if k != "all_mb"} for result in results]
    publish({"benchmark": "fleet", "fleets": results}, rows, options.json)


if __name__ == "__main__":
    main()
