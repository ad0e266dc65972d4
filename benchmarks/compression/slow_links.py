"""Duration of rounds at 1 Mbit/s with and without compression, beside the bytes on each link.

    python -m benchmarks.compression.slow_links --agents 4 --parameters 100000 --rounds 4

Every agent is behind a link of its own, the same rate each way. A round downloads the version, or a
thin one, and sends an update; the updates are random numbers, so that no training takes time.
"""

import argparse
import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Final

import numpy as np

from benchmarks.cluster import Cluster, Wish, push, rounds, run
from benchmarks.compression.measured_chains import CHAINS, MeasuredChain
from benchmarks.measure import middle, publish
from benchmarks.round import SLOW_BITS, names, slow_link
from fedbus import compression
from fedbus.compression import Content
from fedbus.model.blob_header import blob_size
from fedbus.model.layout import Layout, Tensor
from fedbus.mqtt.mosquitto import free_port
from fedbus.wire.blobs import Compression

MEASURED: Final = (
    "none",
    "top 10 %, 4 bits",
    "8 bits down",
    "top 10 %, 4 bits; 8 bits down",
    "top 10 %, 4 bits; 4 bits down",
)


def measured(agents: int, parameters: int, count: int, chains: Mapping[str, MeasuredChain]) -> Any:  # noqa: ANN401 - JSON
    """Run a job for each chain on one cluster; return its figures by the chain's name."""
    found: dict[str, dict[str, float]] = {}
    with ExitStack() as stack:
        behind = {agent: free_port() for agent in names(agents)}
        cluster = stack.enter_context(Cluster([*behind], behind=behind))
        for port in behind.values():
            stack.enter_context(slow_link(port, cluster.broker.port))
        asyncio.run(push(cluster, parameters))
        for number, (name, chain) in enumerate(chains.items()):
            more = {"transmitter": _steps(chain.up), "download": _steps(chain.down)}
            wish = Wish(
                f"bench-{number}", count + 1, agents, agents,
                more={key: steps for key, steps in more.items() if steps},
            )  # fmt: skip
            asyncio.run(run(cluster, wish, 120.0 + count * parameters * 64 / SLOW_BITS * 2))
            found[name] = {
                "seconds": middle(rounds(cluster, wish.job).aggregate),
                "bytes": size(parameters, chain.up, "delta")
                + size(parameters, chain.down, "plain"),
            }
    return found


def size(parameters: int, steps: Compression, content: Content) -> int:
    """Return the bytes of an update or a version of random numbers."""
    layout = Layout((Tensor("w", (parameters,), "float32"),))
    if not steps:
        return blob_size(layout, content)
    rng = np.random.default_rng(0)
    arrays = {"w": rng.standard_normal(parameters, np.float32)}
    return len(compression.encode(arrays, layout, steps, rng, content=content))


def _steps(steps: Compression) -> list[dict[str, Any]]:
    return [{"id": step.id, "parameters": dict(step.parameters)} for step in steps]


def main() -> None:
    """Print both ratios of each chain."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--agents", type=int, default=4)
    parser.add_argument("--parameters", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--chains", nargs="*", choices=CHAINS, default=[*MEASURED])
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - is stdout")
    options = parser.parse_args()
    chains = {name: CHAINS[name] for name in options.chains}
    found = measured(options.agents, options.parameters, options.rounds, chains)
    first = found[options.chains[0]]
    rows = [
        {
            "chain": name,
            **figures,
            "of_bytes": round(figures["bytes"] / first["bytes"], 3),
            "of_seconds": round(figures["seconds"] / first["seconds"], 3),
        }
        for name, figures in found.items()
    ]
    publish({"benchmark": "slow links", "chains": found}, rows, options.json)


if __name__ == "__main__":
    main()
