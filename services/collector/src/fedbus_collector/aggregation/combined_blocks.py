"""Blocks of a round's combined update, from whichever updates a rule uses. Pure.

`CombinedBlocks` is what the writer of a new version reads; `running_total.py` and `kept_updates.py`
have one for each kind of rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedbus.plugins.collector_part_calls import AggregatorCalls
from fedbus_collector.aggregation.tensor_runs import Span, TensorRun, stack_length
from fedbus_collector.aggregation.verification import VerifiedUpdate


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedCoefficients:
    """What a round's record says about its combination.

    Attributes:
        agents: Number of updates that are used.
        updates: The coefficient of each update by agent; None if they are combined otherwise.
        base: The coefficient of the base.
    """

    agents: int
    updates: Mapping[str, float] | None
    base: float = 1.0


class CombinedBlocks(Protocol):
    """The combined update of a round, block by block."""

    @property
    def used(self) -> UsedCoefficients:
        """How the updates are combined."""
        ...

    @property
    def block_numbers(self) -> int | None:
        """The most numbers of a block; None: any number."""
        ...

    def fill(self, out: NDArray[np.float64], run: TensorRun, block: Span) -> None:
        """Write a block into `out`, shape (numbers,)."""
        ...


@dataclass(frozen=True, slots=True)
class LinearCombination:
    """The sum of updates times their coefficients.

    Statistics and whole numbers are the mean of the same updates, weighted by their examples: the
    coefficients of some rules do not add up to 1, and then a counter or a variance would drift.
    """

    updates: tuple[VerifiedUpdate, ...]
    coefficients: tuple[float, ...]
    used: UsedCoefficients
    block_numbers: None = None
    _shares: tuple[float, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Compute each update's share of the examples."""
        object.__setattr__(self, "_shares", shares_of(self.updates))

    def fill(self, out: NDArray[np.float64], run: TensorRun, block: Span) -> None:
        """Write a block of the sum, or of the mean, into `out`."""
        linear = run.treatment in {"trained", "section"}
        factors = self.coefficients if linear else self._shares
        add_up(out, self.updates, factors, run, block)


@dataclass(frozen=True, slots=True)
class NumberwiseCombination:
    """The result of an aggregator's `combine` on blocks of all updates that are used.

    Whole numbers are combined as floats and rounded later; a boolean is decided by the majority of
    the examples.
    """

    updates: tuple[VerifiedUpdate, ...]
    weights: NDArray[np.float64]
    aggregator: AggregatorCalls
    used: UsedCoefficients
    block_numbers: int = field(init=False)
    _stack: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        """Choose the length of blocks by the number of updates."""
        third_party = self.aggregator.caller.third_party
        length = stack_length(len(self.updates), third_party=third_party)
        object.__setattr__(self, "block_numbers", length)
        object.__setattr__(self, "_stack", np.empty((len(self.updates), length)))

    def fill(self, out: NDArray[np.float64], run: TensorRun, block: Span) -> None:
        """Write a combined block into `out`."""
        if run.dtype == "bool":
            add_up(out, self.updates, shares_of(self.updates), run, block)
            return
        stack = self._stack[:, : block.numbers]
        for row, update in zip(stack, self.updates, strict=True):
            row[:] = update.read(run, block)
        out[:] = self.aggregator.combine(stack, self.weights)


def add_up(
    out: NDArray[np.float64],
    updates: tuple[VerifiedUpdate, ...],
    factors: tuple[float, ...],
    run: TensorRun,
    block: Span,
) -> None:
    """Write the sum of a block of each update times its factor into `out`."""
    out.fill(0.0)
    product = np.empty(block.numbers)
    for update, factor in zip(updates, factors, strict=True):
        # Without the dtype, NumPy would round the products to the dtype of the updates.
        out += np.multiply(update.read(run, block), factor, out=product, dtype=np.float64)


def shares_of(updates: tuple[VerifiedUpdate, ...]) -> tuple[float, ...]:
    """Return each update's share of the examples of all updates."""
    examples = sum(update.facts.examples for update in updates)
    return tuple(update.facts.examples / examples for update in updates)
