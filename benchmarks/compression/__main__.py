"""Accuracy against bytes of chains of compression steps, beside the same rounds without any.

python -m benchmarks.compression --write          all chains, into docs/compression-results.*
python -m benchmarks.compression --rounds 5 --seeds 1 --chains 'cast' 'top 10 %, 8 bits'
"""

import argparse
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from benchmarks.compression.compressed_rounds import run_rounds
from benchmarks.compression.compression_results import write_results
from benchmarks.compression.measured_chains import (
    CHAINS,
    LAST_ROUNDS,
    PLAIN,
    ROUNDS,
    SEEDS,
    SETTINGS,
)
from benchmarks.measure import publish

Line = dict[str, Any]


def measured(data: str, name: str, seeds: Sequence[int], rounds: int) -> Line:
    """Return what a chain reaches: accuracies of each seed, and bytes of a round and agent."""
    runs = [run_rounds(data, SETTINGS[data], CHAINS[name], seed, rounds) for seed in seeds]
    return {
        "data": data,
        "chain": name,
        "final": [round(fmean(run.accuracies[-LAST_ROUNDS:]), 4) for run in runs],
        "up": round(fmean(fmean(run.up) for run in runs)),
        "down": round(fmean(fmean(run.down) for run in runs)),
        "curve": [
            round(fmean(each), 4) for each in zip(*(r.accuracies for r in runs), strict=True)
        ],
    }


def row(line: Line, plain: Line) -> Line:
    """Return the columns of the table."""
    accuracy, without = fmean(line["final"]), fmean(plain["final"])
    return {
        "data": line["data"],
        "chain": line["chain"],
        "accuracy": round(accuracy, 4),
        "points_lost": round(100 * (without - accuracy), 2),
        "up_bytes": line["up"],
        "of_up": round(line["up"] / plain["up"], 4),
        "of_down": round(line["down"] / plain["down"], 4),
    }


def main() -> None:
    """Measure, print a table, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--data", nargs="*", choices=SETTINGS, default=[*SETTINGS])
    parser.add_argument("--chains", nargs="*", choices=CHAINS, default=[*CHAINS])
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - is stdout")
    parser.add_argument("--write", action="store_true", help="write docs/compression-results.*")
    options = parser.parse_args()
    lines, rows = [], []
    for data in options.data:
        for name in dict.fromkeys([PLAIN, *options.chains]):
            line = measured(data, name, SEEDS[: options.seeds], options.rounds)
            lines.append(line)
            plain = next(each for each in lines if (each["data"], each["chain"]) == (data, PLAIN))
            rows.append(row(line, plain))
            print(rows[-1], flush=True)
    if options.write:
        write_results(lines)
    publish({"benchmark": "compression", "lines": lines}, rows, options.json)


if __name__ == "__main__":
    main()
