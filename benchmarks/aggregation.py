"""Aggregation of a round's updates by the collector's code, compared with numpy on whole arrays.

    python -m benchmarks.aggregation --agents 10 --parameters 5000000 --json -

Each row is one rule on float32 updates that lie in memory: `verify s` is the check of digest,
header and every number, `combine s` the rest of a round, `numpy s` the same arithmetic in numpy on
arrays in memory, and `of numpy` the share of numpy's speed that the combination reaches. For the
mean, numpy works on the same blocks; for rules that need all updates, on whole float64 arrays.
Durations are the shortest of `--repetitions`.

    python -m benchmarks.aggregation --memory --folder /var/tmp

Resident memory of a process that aggregates more than fits: 100 updates of 20 MB by Krum and by the
median, and a model of 1 GB by FedAdam from 2 agents (10 GB of temporary files). `--folder` must not
lie in memory.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import MB, MIB, peak_mb, publish
from fedbus.blobs.spool import Spool, Spools
from fedbus.jobs import StrategyConfig
from fedbus.model.blob import BLOCK_NUMBERS
from fedbus.model.blob_header import blob_size, header_bytes
from fedbus.model.layout import Layout, Tensor
from fedbus.model.sections import state_layout
from fedbus.plugins import UpdateFacts
from fedbus.strategies.resolution import resolve
from fedbus_collector.aggregation.aggregate import Aggregation
from fedbus_collector.aggregation.kept_updates import KeptUpdates
from fedbus_collector.aggregation.running_total import RunningTotal, total_bytes
from fedbus_collector.aggregation.server_step import ServerStep
from fedbus_collector.aggregation.state_blocks import StrategyArrays
from fedbus_collector.aggregation.tensor_runs import UpdateRuns
from fedbus_collector.aggregation.verification import ArrivedUpdate, UpdateChecks, verify
from fedbus_collector.collector_parts import PartsFactory

Floats = NDArray[np.float32]

MEMORY_MB: Final = 160
"""The collector's default `memory_mb`."""
LARGE: Final[dict[str, tuple[int, int]]] = {
    "krum": (100, 5_000_000),
    "median": (100, 5_000_000),
    "fedadam": (2, 250_000_000),
}
"""Agents and parameters of the measurements of memory."""


class MeasuredRound:
    """A round of one strategy whose updates have arrived; `blocks` yields the numbers of a blob."""

    def __init__(
        self, strategy: str, agents: int, numbers: int, spools: Spools, blocks: "Blocks"
    ) -> None:
        self.layout = Layout((Tensor("w", (numbers,), "float32"),))
        self._spools = spools
        self._strategy = resolve(StrategyConfig(id=strategy))
        self._parts = PartsFactory().make(self._strategy)
        self._runs = UpdateRuns.of(self.layout, self._strategy.sections)
        self._base = self._blob(blocks(0), "plain")
        self.updates = [self._arrived(f"agent.{at}", blocks(at + 1)) for at in range(agents)]

    def _blob(self, blocks: Iterator[Floats], encoding: str) -> Spool:
        spool = self._spools.make(blob_size(self.layout, encoding))
        head = header_bytes(self.layout, encoding)
        spool.write(0, head)
        at = len(head)
        for block in blocks:
            spool.write(at, block.data.cast("B"))
            at += block.nbytes
        return spool

    def _arrived(self, agent: str, blocks: Iterator[Floats]) -> ArrivedUpdate:
        spool = self._blob(blocks, "delta")
        return ArrivedUpdate(UpdateFacts(agent=agent, examples=10), spool.digest(), spool)

    def verify(self) -> None:
        """Verify all updates."""
        for update in self.updates:
            verify(self._runs, update)

    def aggregate(self) -> Spool:
        """Do what the collector does with the updates of a round, and return the new version."""
        aggregator = self._parts.aggregator
        checks = UpdateChecks(self._runs, aggregator)
        updates: RunningTotal | KeptUpdates = KeptUpdates(checks)
        if aggregator.streams:
            total = self._spools.make(total_bytes(self._runs), zeros=True)
            updates = RunningTotal(checks, total)
        state = None
        if self._strategy.state:
            layout = state_layout(self.layout, self._strategy.state)
            size = blob_size(layout, "plain")
            old = self._spools.make(size, zeros=True)
            old.write(0, header_bytes(layout, "plain"))
            state = StrategyArrays(layout, old, self._spools.make(size))
        refused = updates.take(self.updates)
        assert not refused, refused
        out = self._spools.make(blob_size(self.layout, "plain"))
        Aggregation(
            runs=self._runs,
            updates=updates,
            agents=tuple(update.agent for update in self.updates),
            step=ServerStep(optimizer=self._parts.optimizer, transforms=self._parts.transforms),
            base=self._base,
            out=out,
            state=state,
        ).run()
        if isinstance(updates, RunningTotal):
            updates.spool.close()
        return out


Blocks = Callable[[int], Iterator[Floats]]


def random_blocks(numbers: int) -> Blocks:
    """Return a source of blobs that is quick, and different for each index and block."""
    block = np.random.default_rng(1).standard_normal(BLOCK_NUMBERS, np.float32)

    def blocks(index: int) -> Iterator[Floats]:
        for at in range(0, numbers, BLOCK_NUMBERS):
            yield block[: numbers - at] * np.float32(1 + index / 7 + at / numbers)

    return blocks


def numpy_mean(base: Floats, updates: list[Floats]) -> Floats:
    """Add up weighted updates in float64, block by block, and add the mean to the base."""
    total = np.zeros(len(base))
    for update in updates:
        for at in range(0, len(base), BLOCK_NUMBERS):
            part = slice(at, at + BLOCK_NUMBERS)
            total[part] += update[part] * np.float64(10.0)
    new = np.empty_like(base)
    for at in range(0, len(base), BLOCK_NUMBERS):
        part = slice(at, at + BLOCK_NUMBERS)
        new[part] = base[part] + total[part] / (10.0 * len(updates))
    return new


def numpy_krum(base: Floats, updates: list[Floats]) -> Floats:
    """Compute the inner products, the scores, and the update with the lowest."""
    stack = np.stack(updates).astype(np.float64)
    products = stack @ stack.T
    norms = np.diag(products)
    distances = norms[:, None] + norms[None, :] - 2 * products
    scores = np.sort(distances, axis=1)[:, 1 : len(updates) - 1].sum(axis=1)
    return np.add(base, stack[scores.argmin()]).astype(np.float32)


def numpy_median(base: Floats, updates: list[Floats]) -> Floats:
    """Compute the median of whole arrays."""
    median: NDArray[np.float64] = np.median(np.stack(updates).astype(np.float64), axis=0)
    return np.add(base, median).astype(np.float32)


def best_seconds(repetitions: int, *calls: Callable[[], object]) -> list[float]:
    """Return the shortest duration of each call; they are made in turn, so load affects all."""
    best = [math.inf] * len(calls)
    for _ in range(repetitions):
        for at, call in enumerate(calls):
            start = time.perf_counter()
            call()
            best[at] = min(best[at], time.perf_counter() - start)
    return best


def compare(strategy: str, agents: int, numbers: int, repetitions: int) -> dict[str, object]:
    """Measure a rule and its counterpart in numpy, and compare the results."""
    blocks = random_blocks(numbers)
    arrays = [np.concatenate(list(blocks(index))) for index in range(agents + 1)]
    base, updates = arrays[0], arrays[1:]
    plain = {"fedavg": numpy_mean, "krum": numpy_krum, "median": numpy_median}[strategy]
    found = plain(base, updates)
    measured = MeasuredRound(strategy, agents, numbers, Spools(1 << 40), blocks)
    out = measured.aggregate()
    head = len(header_bytes(measured.layout, "plain"))
    made = np.frombuffer(out.read(head, numbers * 4), np.float32)
    np.testing.assert_allclose(made, found, rtol=1e-5, atol=1e-5)
    verify_seconds, whole, numpy_seconds = best_seconds(
        repetitions,
        measured.verify,
        lambda: measured.aggregate().close(),
        lambda: plain(base, updates),
    )
    combine = max(whole - verify_seconds, 1e-9)
    return {
        "rule": strategy,
        "agents": agents,
        "parameters": numbers,
        "verify s": round(verify_seconds, 4),
        "combine s": round(combine, 4),
        "numpy s": round(numpy_seconds, 4),
        "of numpy": round(numpy_seconds / combine, 2),
        "updates MB/s": round(agents * numbers * 4 / MB / whole, 1),
    }


def measure_memory(strategy: str, folder: Path) -> dict[str, object]:
    """Aggregate more than fits into memory, and return this process's peak."""
    agents, numbers = LARGE[strategy]
    spools = Spools(MEMORY_MB * MIB, folder)
    measured = MeasuredRound(strategy, agents, numbers, spools, random_blocks(numbers))
    start = time.perf_counter()
    measured.aggregate()
    return {
        "strategy": strategy,
        "agents": agents,
        "update MB": numbers * 4 / MB,
        "seconds": round(time.perf_counter() - start, 1),
        "peak MB": peak_mb(os.getpid()),
    }


def measure_in_a_child(strategy: str, folder: str) -> dict[str, object]:
    """Measure memory in a process of its own: a peak never falls."""
    command = (sys.executable, "-m", "benchmarks.aggregation", "--child", strategy)
    done = subprocess.run(
        [*command, "--folder", folder], check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--agents", type=int, default=10)
    parser.add_argument("--parameters", type=int, default=1_000_000)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--memory", action="store_true", help="measure resident memory instead")
    parser.add_argument("--strategies", nargs="+", choices=LARGE, default=list(LARGE))
    parser.add_argument("--folder", help="where temporary files are made")
    parser.add_argument("--child", choices=LARGE, help=argparse.SUPPRESS)
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - prints them")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="fedbus-bench-", dir=options.folder) as folder:
        if options.child:
            print(json.dumps(measure_memory(options.child, Path(folder))))
            return
        if options.memory:
            rows = [measure_in_a_child(strategy, folder) for strategy in options.strategies]
        else:
            rows = [
                compare(rule, options.agents, options.parameters, options.repetitions)
                for rule in ("fedavg", "krum", "median")
            ]
    publish({"rows": rows}, rows, options.json)


if __name__ == "__main__":
    main()
