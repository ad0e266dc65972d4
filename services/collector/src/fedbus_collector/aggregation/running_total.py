"""Running total of a round's updates: a weighted mean in the memory of one model.

Called in a worker thread.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedbus.blobs.spool import Spool
from fedbus.errors import FedbusError
from fedbus.plugins.collector_part_calls import AggregatorCalls
from fedbus_collector.aggregation.combined_blocks import UsedCoefficients
from fedbus_collector.aggregation.tensor_runs import (
    Span,
    TensorRun,
    UpdateRuns,
    blocks_of,
    read,
)
from fedbus_collector.aggregation.verification import ArrivedUpdate, VerifiedUpdate, verify


def total_bytes(runs: UpdateRuns) -> int:
    """Return the size of a running total: one float64 for each number of an update."""
    return sum(tensor.numbers for tensor in runs.updates.shared) * 8


class RunningTotal:
    """The sum of a round's updates times their weights, in a spool of `total_bytes` zeros."""

    def __init__(self, runs: UpdateRuns, spool: Spool, aggregator: AggregatorCalls) -> None:
        self.spool = spool
        self._runs = runs
        self._aggregator = aggregator
        self._weights: dict[str, float] = {}

    def take(self, updates: Sequence[ArrivedUpdate]) -> dict[str, str]:
        """Verify and add each update; return the reason for each agent whose update is refused.

        Raises:
            StoreError: The disk is full.
        """
        refused: dict[str, str] = {}
        for update in updates:
            try:
                if reason := self._aggregator.refuses(update.facts):
                    refused[update.agent] = reason
                    continue
                verified = verify(self._runs, update)
                weight = self._aggregator.weight(update.facts)
            except FedbusError as error:
                refused[update.agent] = str(error)
                continue
            self._weights[update.agent] = weight
            if weight:
                self._add(verified, weight)
        return refused

    def _add(self, update: VerifiedUpdate, weight: float) -> None:
        spool = self.spool
        for run in self._runs.in_updates:
            for block in blocks_of(run):
                # NumPy 1 would round the products of float32 numbers to float32.
                added = np.multiply(update.read(run, block), weight, dtype=np.float64)
                held = read(spool, run.total * 8, "float64", block)
                if spool.in_memory:
                    held += added
                else:
                    held = held + added
                    spool.write((run.total + block.at) * 8, held.data.cast("B"))

    def combine(self, agents: Sequence[str], base: Spool) -> "MeanOfTotal":  # noqa: ARG002 - no rule for one update reads the base
        """Return the mean; raise PluginError if all weights are 0."""
        total = sum(self._weights.values())
        if not 0 < total < np.inf:
            raise self._aggregator.caller.error(f"the weights of all updates add up to {total}")
        shares = {agent: self._weights[agent] / total for agent in agents}
        used = UsedCoefficients(agents=sum(map(bool, shares.values())), updates=shares)
        return MeanOfTotal(self.spool, total, used)


@dataclass(frozen=True, slots=True)
class MeanOfTotal:
    """The blocks of a running total, divided by the sum of the weights."""

    spool: Spool
    weight: float
    used: UsedCoefficients
    block_numbers: None = None

    def fill(self, out: NDArray[np.float64], run: TensorRun, block: Span) -> None:
        """Write a block of the mean into `out`."""
        np.divide(read(self.spool, run.total * 8, "float64", block), self.weight, out=out)
