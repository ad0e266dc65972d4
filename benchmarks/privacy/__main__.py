"""Cost of privacy in accuracy, and its effect on attacks, on real data.

    python -m benchmarks.privacy                        print the tables
    python -m benchmarks.privacy --write                and write them into the documents
    python -m benchmarks.privacy --only membership      one part

See docs/privacy-results.md for the conditions.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, Final

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # before numpy: matrices are small

from benchmarks.privacy.cost_of_privacy import MECHANISMS, cost_of, cost_tasks  # noqa: E402 - as said
from benchmarks.privacy.hidden_updates import hidden_accuracy, hidden_tasks  # noqa: E402
from benchmarks.privacy.overfitted_models import MODELS, attacked_models  # noqa: E402
from benchmarks.privacy.participation_attacks import (  # noqa: E402
    EPSILONS,
    attacked_participation,
)
from benchmarks.privacy.private_results import PAGE, tables, write_part  # noqa: E402
from benchmarks.privacy.private_services import checked_services  # noqa: E402
from benchmarks.privacy.release_attacks import RELEASES, attacked_release  # noqa: E402

Task = Callable[[], Any]

PARTS: Final[dict[str, Sequence[Task]]] = {
    "cost": [partial(cost_of, task) for task in cost_tasks()],
    "membership": [partial(attacked_models, kind, 24) for kind in MODELS],
    "participation": [partial(attacked_participation, epsilon, 40) for epsilon in EPSILONS],
    "release": [partial(attacked_release, name, 1000) for name in RELEASES],
    "services": [
        partial(checked_services, name, MECHANISMS[name])
        for name in ("dp-fixed, Poisson", "dp-banded")
    ],
    "hidden": [partial(hidden_accuracy, *task) for task in hidden_tasks()],
}
"""What is measured, by the name of a part."""


def main() -> None:
    """Measure the parts, and print or write their results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", action="append", choices=list(PARTS))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--write", action="store_true", help=f"update {PAGE.name} and its files")
    options = parser.parse_args()
    results: dict[str, list[dict[str, Any]]] = {}
    with ProcessPoolExecutor(options.processes) as pool:
        for name in options.only or PARTS:
            waiting = [pool.submit(task) for task in PARTS[name]]
            results[name] = []
            for number, each in enumerate(waiting, 1):
                results[name].append(each.result().plain())
                _progress(f"{name}: measured {number} of {len(waiting)}")
            if options.write:
                write_part(name, results[name])
    print(tables(results))


def _progress(line: str) -> None:
    end = "\r" if sys.stderr.isatty() else "\n"
    print(f"{line:70}", end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
