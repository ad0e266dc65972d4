"""Duration of rounds whose updates are encrypted or masked, beside plain ones in the same run.

    python -m benchmarks.hidden_rounds --agents 5 --widths 64 32 10
    python -m benchmarks.hidden_rounds --agents 5 --widths 64 300 260 10

All services, agents and an evaluator are processes on this machine; agents train one epoch of the
handwritten digits by PyTorch. Jobs run in turn, block by block. `opening_to_aggregate` is what the
collector measures, `round_to_round` the time between the announcements of two finished rounds,
planning and evaluation included, and `cpu` the least processor time of a round in a block, all
processes but the broker's. The first round of each job is ignored in the times.
"""

import argparse
import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

import fedbus
from benchmarks.digits_cluster import digits_cluster
from benchmarks.measure import cpu_seconds, middle, publish
from fedbus.client import RoundState
from fedbus.client.packed_model import PackedModel, packed
from fedbus.cluster.registry import RunningCluster
from fedbus.encryption.parameters import choose_parameters
from fedbus.frameworks.torch import TorchTrainer

HIDINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "plain": {},
    "BFV, 11 bits": {"homomorphic": {"bits": 11}},
    "BFV, 16 bits": {"homomorphic": {"bits": 16}},
    "masks, 16 bits": {"secure-aggregation": {"bits": 16}},
}

Seconds = dict[str, dict[str, list[float]]]


def model(name: str, widths: list[int]) -> PackedModel:
    """Return a network with its initial weights."""
    architecture = {"name": "mlp", "config": {"layers": widths, "seed": 0}}
    plain = {"model": name, "architectures": {"torch": architecture}}
    return packed(plain, TorchTrainer(architecture).initial(), {}, {})


def job(name: str, hiding: str, agents: int, rounds: int) -> dict[str, Any]:
    """Return a job file."""
    return {
        "training_id": name,
        "model_name": name,
        "num_rounds": rounds,
        "config": [{"batch_size": 16, "epochs": 1, "learning_rate": 0.1}],
        "round": {"agents": agents, "quorum": agents, "deadline_seconds": 60},
        "privacy-mechanisms": dict(HIDINGS[hiding]),
    }


def spent(here: RunningCluster) -> float:
    """Return the processor time of all services and agents until now, in seconds."""
    return sum(cpu_seconds(pid) for node, pid in here.processes.items() if node != "broker")


async def measured(here: RunningCluster, options: argparse.Namespace) -> Seconds:
    """Run all jobs, each from a model of its own; return the seconds of their rounds."""
    found: Seconds = {hiding: defaultdict(list) for hiding in HIDINGS}
    async with fedbus.connect(cluster=here.home) as fed:
        for block in range(options.blocks):
            for number, hiding in enumerate(HIDINGS):
                name = f"block{block}-{number}"
                await fed.push(model(name, options.widths))
                await fed.submit(job(name, hiding, options.agents, options.rounds + 1))
                at, before = [], spent(here)
                async for news in fed.follow(name):
                    if isinstance(news, RoundState):
                        at.append(time.perf_counter())
                        if news.round > 1:
                            seconds = news.seconds["aggregated"]
                            found[hiding]["opening_to_aggregate"].append(seconds)
                found[hiding]["cpu"].append((spent(here) - before) / (options.rounds + 1))
                state = (await fed.job(name)).state
                if state.phase != "finished":
                    sys.exit(f"{hiding}: {state.phase}: {state.reason}")
                found[hiding]["round_to_round"] += [after - one for one, after in pairwise(at)]
                print(hiding, state.metrics, file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--agents", type=int, default=5)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 32, 10])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - is stdout")
    options = parser.parse_args()
    keys = choose_parameters(agents=options.agents)
    with digits_cluster(options.agents, "torch", "--split", "iid", keys=keys) as here:
        found = asyncio.run(measured(here, options))
    plain = middle(found["plain"]["round_to_round"], 6)
    rows = [
        {
            "updates": hiding,
            "opening_to_aggregate": middle(seconds["opening_to_aggregate"]),
            "round_to_round": middle(seconds["round_to_round"]),
            "cpu": round(min(seconds["cpu"]), 3),
            "longest": round(max(seconds["round_to_round"]), 3),
            "of_plain": round(middle(seconds["round_to_round"], 6) / plain, 2),
        }
        for hiding, seconds in found.items()
    ]
    result = {"benchmark": "hidden rounds", "agents": options.agents, "widths": options.widths}
    publish({**result, "rows": rows}, rows, options.json)


if __name__ == "__main__":
    main()
