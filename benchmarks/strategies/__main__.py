"""Accuracy of the strategies on real data: published orderings, and attacks.

    python -m benchmarks.strategies                          print the tables
    python -m benchmarks.strategies --write                  and write them into the documents
    python -m benchmarks.strategies --only "one label"       one experiment

Each strategy's learning rate and own parameter are chosen first, on rows and seeds that the
measurement does not use. See docs/strategies.md for the conditions.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # before numpy: matrices are small

from benchmarks.strategies.experiments import EXPERIMENTS, Experiment  # noqa: E402 - see above
from benchmarks.strategies.measured import Measured, measured, tuned  # noqa: E402
from benchmarks.strategies.result_files import PAGE, as_json, write  # noqa: E402
from benchmarks.strategies.result_pages import tables  # noqa: E402
from benchmarks.strategies.settings import Candidate  # noqa: E402


def main() -> None:
    """Run the experiments, and print or write their results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", action="append", choices=list(EXPERIMENTS), metavar="EXPERIMENT")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all figures there")
    parser.add_argument("--write", action="store_true", help=f"update {PAGE.name} and its files")
    options = parser.parse_args()
    results = {}
    with ProcessPoolExecutor(options.processes) as pool:
        for name in options.only or EXPERIMENTS:
            results[name] = run(name, EXPERIMENTS[name], pool)
            plain = {name: [each.plain() for each in rows] for name, rows in results.items()}
            if options.json is not None:
                options.json.write_text(as_json(plain), encoding="utf-8")
            if options.write:
                write(plain)
    print(tables(results))


def run(name: str, experiment: Experiment, pool: ProcessPoolExecutor) -> list[Measured]:
    """Choose the parameters of each strategy, then measure it, with progress on stderr."""
    chosen = dict(_chosen(name, experiment, pool))
    waiting = [
        pool.submit(measured, experiment, heading, chosen[heading, strategy])
        for heading in experiment.settings
        for strategy in experiment.strategies
    ]
    rows = []
    for number, each in enumerate(waiting, 1):
        rows.append(each.result())
        _progress(f"{name}: measured {number} of {len(waiting)}")
    return rows


def _chosen(
    name: str, experiment: Experiment, pool: ProcessPoolExecutor
) -> Iterator[tuple[tuple[str, str], Candidate]]:
    """Yield the candidate of each strategy in each setting, by (heading, strategy)."""
    checked, places = experiment.checked, []
    waiting = []
    for heading, setting in experiment.settings.items():
        for strategy, fixed in experiment.strategies.items():
            rate = experiment.rates.get(heading)
            if rate is not None:
                yield (heading, strategy), Candidate(strategy, rate, fixed)
            elif experiment.tuned_as is None:
                places.append((heading, strategy))
                waiting.append(pool.submit(tuned, setting, strategy, fixed, checked))
    for number, (place, each) in enumerate(zip(places, waiting, strict=True), 1):
        yield place, each.result()
        _progress(f"{name}: chose parameters {number} of {len(waiting)}")
    if experiment.tuned_as is not None:
        setting = next(iter(experiment.settings.values()))
        rate = pool.submit(tuned, setting, experiment.tuned_as, {}, checked).result().learning_rate
        for heading in experiment.settings:
            for strategy, fixed in experiment.strategies.items():
                yield (heading, strategy), Candidate(strategy, rate, fixed)


def _progress(line: str) -> None:
    end = "\r" if sys.stderr.isatty() else "\n"
    print(f"{line:70}", end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
