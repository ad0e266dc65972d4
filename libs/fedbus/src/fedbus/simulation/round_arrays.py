"""Arrays of one committed round, as the oracle reads them, and their sums computed again."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fedbus.model.frozen_bits import FrozenBits
from fedbus.model.layout import Array, Layout, Tensor
from fedbus.model.sections import SECTION_PREFIX, section_numbers, trained_tensors
from fedbus.simulation.offered_deltas import Update, offered_delta
from fedbus.simulation.reference_rules import (
    REFERENCE_COMBINATIONS,
    Updates,
    Vector,
    reference_combination,
)
from fedbus.simulation.stored_records import (
    RoundLike,
    StoredRecords,
    read_frozen,
    read_state,
    read_weights,
)
from fedbus.wire.round_records import RoundRecord

TOLERANCE = 1e-6
"""Relative to the sum of the absolute values: |base|, each |coefficient * delta|, |step|."""


@dataclass(frozen=True)
class RoundArrays:
    """The arrays of a round: base, version and updates, each by tensor name.

    Attributes:
        what: What error messages call the round.
        record: The record of the round.
        layout: The layout of the model.
        base: The weights of the base version.
        committed: The weights of the version that the round made.
        deltas: The offered updates of the record's contributors, in their order.
        frozen: The trained numbers that updates left out; None if they left out none.
    """

    what: str
    record: RoundRecord
    layout: Layout
    base: Mapping[str, Array]
    committed: Mapping[str, Array]
    deltas: tuple[Mapping[str, Array], ...]
    frozen: FrozenBits | None

    @classmethod
    def read(
        cls,
        store: StoredRecords,
        each: RoundLike,
        parent: RoundLike,
        updates: Mapping[tuple[str, int], Update],
    ) -> "RoundArrays":
        """Read the arrays of a version that has a record; for the arguments see `check_aggregate`.

        Raises:
            RecordsError: A blob is missing or damaged, or an update is not the offered one.
        """
        record = each.record
        assert record is not None  # noqa: S101 - the caller has checked
        what = f"round {record.round} of job {record.job!r}"
        layout, committed = read_weights(store, each.version)
        _, base = read_weights(store, parent.version)
        strategy, continues = record.strategy, record.state is not None and record.state.rounds > 1
        frozen = read_frozen(store, parent.record if continues else None, layout)
        deltas = tuple(
            offered_delta(what, one, updates, layout, strategy, frozen)
            for one in record.contributors
        )
        return cls(what, record, layout, base, committed, deltas, frozen)

    @cached_property
    def coefficients(self) -> Vector | None:
        """Those of the record; None if it has none."""
        found = [one.coefficient for one in self.record.contributors]
        return None if None in found else np.array(found, np.float64)

    @cached_property
    def used(self) -> NDArray[np.bool_]:
        """Which of the updates are used."""
        used = [one.coefficient != 0 for one in self.record.contributors]
        return np.array(used, np.bool_)  # of no update in some rounds of Poisson sampling

    @cached_property
    def shares(self) -> Vector:
        """Each update's share of the examples of those that are used."""
        examples = np.array([one.examples for one in self.record.contributors], np.float64)
        shares: Vector = examples * self.used / (examples * self.used).sum()
        return shares

    @cached_property
    def trained(self) -> Updates:
        """The trained numbers of all updates, shape (agents, numbers)."""
        return self.matrix(trained_tensors(self.layout))

    @cached_property
    def held(self) -> NDArray[np.bool_]:
        """Which trained numbers keep the base's value, shape (numbers,)."""
        if self.frozen is None:
            return np.zeros(sum(t.numbers for t in trained_tensors(self.layout)), np.bool_)
        return self.frozen.read(0, self.frozen.numbers)

    @property
    def agents(self) -> int:
        """The number of used updates; in a private round that of the agents wanted."""
        privacy = self.record.strategy.privacy
        return int(self.used.sum()) if privacy is None else privacy.cohort

    def matrix(self, tensors: tuple[Tensor, ...]) -> Updates:
        """Return the numbers of tensors in all updates, shape (agents, numbers)."""
        made = np.zeros((len(self.deltas), sum(tensor.numbers for tensor in tensors)))
        for row, delta in zip(made, self.deltas, strict=True):
            row[:] = np.concatenate([np.zeros(0), *(delta[t.name].reshape(-1) for t in tensors)])
        return made

    def section(self, name: str) -> Updates:
        """Return a section of all updates, shape (agents, numbers)."""
        return np.array([delta[SECTION_PREFIX + name] for delta in self.deltas], np.float64)

    def combined(self, numbers: Updates) -> Vector | None:
        """Return the combination of trained numbers; None if the rule is unknown."""
        rule = self.record.strategy.aggregator
        if self.coefficients is None or rule.id in REFERENCE_COMBINATIONS:
            return reference_combination(rule, numbers[self.used])
        combined: Vector = self.coefficients @ numbers
        return combined

    def scale(self, numbers: Updates) -> Vector:
        """Return the sum of the absolute values that are combined."""
        factors = self.shares if self.coefficients is None else np.abs(self.coefficients)
        scale: Vector = factors @ np.abs(numbers)
        return scale

    def state_before(self, store: StoredRecords, parent: RoundLike) -> Mapping[str, Vector]:
        """Read the state that is stored with the base; zeros in the state's first round."""
        record = self.record
        if record.state is None or record.state.rounds == 1 or parent.record is None:
            zeros = np.zeros(section_numbers(self.layout)) if record.strategy.state else None
            return {} if zeros is None else dict.fromkeys(record.strategy.state, zeros)
        stored = read_state(store, parent.record, self.layout)
        return {name: array.astype(np.float64) for name, array in stored.items()}


def float_error(tensor: Tensor, committed: Array, expected: Vector, scale: Vector) -> str:
    """Return how a tensor of floats differs; "" if by no more than the rounding to its dtype.

    Args:
        scale: The sum of the absolute values that each number was computed from; committed,
            expected and scale are arrays of one shape.
    """
    # Rounded to the nearest value of the dtype; the smallest step of float16 is 6e-8.
    kind = np.finfo(tensor.dtype)
    rounding = max(TOLERANCE, float(kind.eps)) * scale + float(kind.smallest_subnormal)
    error = np.abs(committed.astype("f8") - expected)
    if (error <= rounding).all():
        return ""
    return f"differs by {error.max():.3g}, where its values are about {scale.max():.3g}"
