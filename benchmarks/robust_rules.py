"""Aggregation rules under attack: distance to the mean of the honest updates, and seconds.

    python -m benchmarks.robust_rules --agents 50 --malicious 10 --numbers 1000000

Honest updates are a common direction plus noise of the same size in each number. Malicious agents
send one update: `far`, everything at 100 times the noise; `flip`, the honest mean times -10;
`little`, the honest mean plus the noise in each number, which no distance gives away ("A little is
enough", Baruch et al. 2019, arXiv 1902.06156). Distances are multiples of the typical distance of
an honest update, so 1 is as bad as a random honest agent alone. Blocks are as long as a
collector's.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from fedbus import plugins
from fedbus.plugins import Aggregator, Combines, UpdateFacts, WeighsAll
from fedbus_collector.aggregation.tensor_runs import stack_length

Floats = NDArray[np.float32]


def rules(malicious: int, agents: int) -> Iterator[tuple[str, Aggregator]]:
    """Yield the rules by name, told the number of malicious agents."""
    known = {"num_malicious_clients": malicious}
    chosen: dict[str, Mapping[str, float]] = {
        "mean": {"weighted": False},
        "median": {},
        "trimmed-mean": {"beta": malicious / agents},
        "krum": known,
        "multi-krum": known,
        "bulyan": known,
        "geometric-median": {},
        "norm-clipping": {},
    }
    for name, parameters in chosen.items():
        yield name, plugins.load("aggregators", name)(**parameters)


def aggregate(rule: Aggregator, updates: Floats) -> NDArray[np.float64]:
    """Return the combined update, with the passes over the updates that a collector makes."""
    agents, numbers = updates.shape
    facts = [UpdateFacts(agent=f"a{i:04}", examples=1) for i in range(agents)]
    if not isinstance(rule, WeighsAll | Combines):
        total: NDArray[np.float64] = updates.sum(axis=0, dtype=np.float64)
        return total / agents
    length = stack_length(agents + 1, third_party=False)
    starts = range(0, numbers, length)
    factors = np.full(agents, 1 / agents)
    if isinstance(rule, WeighsAll):
        gram = np.zeros((agents + 1, agents + 1))
        for start in starts:
            block = updates[:, start : start + length].astype(np.float64)
            gram[1:, 1:] += block @ block.T
        factors = np.array(rule.weigh(facts, gram).updates)
    kept, result = np.flatnonzero(factors), np.empty(numbers)
    for start in starts:
        block = updates[kept, start : start + length].astype(np.float64)
        combined = isinstance(rule, Combines)
        result[start : start + length] = (
            cast("Combines", rule).combine(block, factors[kept])
            if combined
            else factors[kept] @ block
        )
    return result


def main() -> None:
    """Print a table of distances and seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--agents", type=int, default=50)
    parser.add_argument("--malicious", type=int, default=10, help="at most (agents - 3) / 4")
    parser.add_argument("--numbers", type=int, default=1_000_000)
    parser.add_argument("--json", metavar="FILE", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    direction = rng.normal(size=options.numbers).astype(np.float32)
    updates = direction + rng.normal(size=(options.agents, options.numbers)).astype(np.float32)
    honest = updates[options.malicious :]
    center = honest.mean(axis=0, dtype=np.float64)
    typical = float(np.mean([np.linalg.norm(one - center) for one in honest]))
    attacks = {
        "none": None,
        "far": np.full(options.numbers, 100, np.float32),
        "flip": (-10 * center).astype(np.float32),
        "little": (center + 1).astype(np.float32),
    }
    own = updates[: options.malicious].copy()
    figures: dict[str, dict[str, float]] = {}
    print(f"{'rule':18}" + "".join(f"{name:>10}" for name in (*attacks, "seconds")))
    for name, rule in rules(options.malicious, options.agents):
        row = figures[name] = {}
        for attack, sent in attacks.items():
            updates[: options.malicious] = own if sent is None else sent
            began = time.perf_counter()
            result = aggregate(rule, updates)
            row["seconds"] = time.perf_counter() - began
            row[attack] = float(np.linalg.norm(result - center)) / typical
        cells = "".join(f"{row[each]:10.3g}" for each in (*attacks, "seconds"))
        print(f"{name:18}{cells}", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
