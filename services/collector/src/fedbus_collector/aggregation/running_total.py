"""Running total of a round's updates: a weighted mean in the memory of one model.

Called in a worker thread.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedbus.blobs.spool import Spool
from fedbus.errors import FedbusError
from fedbus.plugins import UpdateFacts
from fedbus_collector.aggregation.combined_blocks import UsedCoefficients
from fedbus_collector.aggregation.tensor_runs import (
    Span,
    TensorRun,
    UpdateRuns,
    blocks_of,
    read,
)
from fedbus_collector.aggregation.verification import ArrivedUpdate, UpdateChecks, VerifiedUpdate


def total_bytes(runs: UpdateRuns) -> int:
    """Return the size of a running total: one float64 for each number of an update."""
    return sum(tensor.numbers for tensor in runs.updates.shared) * 8


class RunningTotal:
    """The sum of a round's updates times their weights, in a spool of `total_bytes` zeros."""

    keeps_spools = False

    def __init__(self, checks: UpdateChecks, spool: Spool) -> None:
        self.spool = spool
        self._checks = checks
        self._facts: dict[str, UpdateFacts] = {}
        self._weights: dict[str, float] = {}

    def take(self, updates: Sequence[ArrivedUpdate]) -> dict[str, str]:
        """Verify and add each update; return the reason for each agent whose update is refused.

        Raises:
            StoreError: The disk is full.
        """
        refused: dict[str, str] = {}
        for update in updates:
            try:
                verified = self._checks.verified(update)
                weight = self._checks.aggregator.weight(update.facts)
            except FedbusError as error:
                refused[update.agent] = str(error)
                continue
            self._facts[update.agent] = verified.facts
            self._weights[update.agent] = weight
            if weight:
                self._add(verified, weight)
        return refused

    def _add(self, update: VerifiedUpdate, weight: float) -> None:
        spool = self.spool
        for run in self._checks.runs.in_updates:
            for block in blocks_of(run):
                # NumPy 1 would round the products of float32 numbers to float32.
                added = np.multiply(update.read(run, block), weight, dtype=np.float64)
                held = read(spool, run.total * 8, "float64", block)
                if spool.in_memory:
                    held += added
                else:
                    held = held + added
                    spool.write((run.total + block.at) * 8, held.data.cast("B"))

    def facts(self, agents: Sequence[str]) -> tuple[UpdateFacts, ...]:
        """Return the facts of the updates of these agents, in this order."""
        return tuple(self._facts[agent] for agent in agents)

    def combine(self, agents: Sequence[str], base: Spool) -> "MeanOfTotal":  # noqa: ARG002 - no rule for one update reads the base
        """Return the mean; raise PluginError if all weights are 0 and there is no divisor."""
        aggregator = self._checks.aggregator
        weights = [self._weights[agent] for agent in agents]
        shares = dict(zip(agents, aggregator.shares(weights), strict=True))
        used = UsedCoefficients(agents=sum(map(bool, shares.values())), updates=shares)
        return MeanOfTotal(self.spool, aggregator.divisor_of(weights), used)

    def close(self) -> None:
        """Free the total."""
        self.spool.close()


@dataclass(frozen=True, slots=True)
class MeanOfTotal:
    """The blocks of a running total, divided by the sum of the weights or by a fixed number."""

    spool: Spool
    divisor: float
    used: UsedCoefficients
    block_numbers: None = None

    def fill(self, out: NDArray[np.float64], run: TensorRun, block: Span) -> None:
        """Write a block of the mean into `out`."""
        np.divide(read(self.spool, run.total * 8, "float64", block), self.divisor, out=out)
