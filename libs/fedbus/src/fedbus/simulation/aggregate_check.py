"""Second computation of a round's version and state from the updates that agents offered."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedbus.compression.round_chance import round_rng
from fedbus.model.frozen_bits import FrozenBits
from fedbus.model.layout import Array, Layout, Tensor
from fedbus.model.sections import (
    SECTION_PREFIX,
    section_numbers,
    split_section,
    trained_tensors,
)
from fedbus.plugins import Combined
from fedbus.simulation.offered_deltas import Update, offered_delta
from fedbus.simulation.reference_observers import (
    ObservedRound,
    observed_arrays,
    observed_numbers,
)
from fedbus.simulation.reference_optimizers import reference_step
from fedbus.simulation.reference_privacy import (
    CLOSE,
    DrawnAgain,
    PrivateRound,
    Protected,
    reference_protection,
)
from fedbus.simulation.reference_rules import (
    REFERENCE_COMBINATIONS,
    WEIGHS_ALL,
    WEIGHS_ONE,
    Updates,
    Vector,
    coefficient_fault,
    reference_combination,
)
from fedbus.simulation.stored_records import (
    RecordsError,
    RoundLike,
    StoredRecords,
    read_frozen,
    read_state,
    read_weights,
)
from fedbus.wire.round_records import RoundRecord

TOLERANCE = 1e-6
"""Relative to the sum of the absolute values: |base|, each |coefficient * delta|, |step|."""

DrawAgain: TypeAlias = Callable[[RoundRecord], DrawnAgain | None]
"""Returns the noise that a collector drew for a round; None: none, or it is not known."""


def check_aggregate(
    store: StoredRecords,
    each: RoundLike,
    parent: RoundLike,
    updates: Mapping[tuple[str, int], Update],
    drawn_again: DrawAgain = lambda _: None,
) -> bool:
    """Check a version and its state against a second computation, tensor by tensor.

    Trained tensors are what the record's aggregator and server optimizer make of the base and of
    the offered updates; others are means of the updates that are used, each dtype in its way.

    Args:
        each: The version and the record of its round.
        parent: The base version, and the record of its round.
        updates: Every offered update, by (agent, task).
        drawn_again: Returns the noise of a private round whose collector drew it.

    Returns:
        Whether the trained tensors were computed again; not if a part of the strategy is none of
        fedbus's, or if its noise is not known.

    Raises:
        RecordsError: The version, its state or a coefficient is another one, or an update is not
            the offered one.
    """
    record = each.record
    assert record is not None  # noqa: S101 - the caller has checked
    check = _RoundCheck.of(store, each, parent, updates)
    fault = coefficient_fault(
        record.strategy.aggregator,
        record.contributors,
        record.base_coefficient,
        check.trained,
    )
    if fault is not None:
        raise RecordsError(f"{check.what}: {fault}")
    check.check_untrained()
    return check.check_trained(store, parent, drawn_again(record))


@dataclass(frozen=True)
class _RoundCheck:
    """The arrays of a round, by tensor name."""

    what: str
    record: RoundRecord
    layout: Layout
    base: Mapping[str, Array]
    committed: Mapping[str, Array]
    deltas: tuple[Mapping[str, Array], ...]
    frozen: FrozenBits | None

    @classmethod
    def of(
        cls,
        store: StoredRecords,
        each: RoundLike,
        parent: RoundLike,
        updates: Mapping[tuple[str, int], Update],
    ) -> "_RoundCheck":
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
        """The trained numbers of all updates."""
        return self.matrix(trained_tensors(self.layout))

    def matrix(self, tensors: tuple[Tensor, ...]) -> Updates:
        """Return the numbers of tensors in all updates, shape (agents, numbers)."""
        made = np.zeros((len(self.deltas), sum(tensor.numbers for tensor in tensors)))
        for row, delta in zip(made, self.deltas, strict=True):
            row[:] = np.concatenate([np.zeros(0), *(delta[t.name].reshape(-1) for t in tensors)])
        return made

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

    def check_untrained(self) -> None:
        """Check statistics, whole numbers and local tensors."""
        trained = {tensor.name for tensor in trained_tensors(self.layout)}
        for tensor in self.layout.tensors:
            old, new = self.base[tensor.name], self.committed[tensor.name]
            if tensor.role == "local":
                _check_local(self.what, tensor, old, new)
            elif tensor.name not in trained:
                numbers = self.matrix((tensor,))
                means = [mean.reshape(tensor.shape) for mean in self._means(tensor, numbers)]
                scale = (self.shares @ np.abs(numbers)).reshape(tensor.shape)
                _check_mean(self.what, tensor, (old, new), means, scale)

    def _means(self, tensor: Tensor, numbers: Updates) -> Iterator[Vector]:
        """Yield the changes that an untrained tensor may have; none if the rule is unknown."""
        rule, coefficients = self.record.strategy.aggregator, self.coefficients
        if coefficients is None or rule.id in REFERENCE_COMBINATIONS:
            if tensor.dtype == "bool":
                yield self.shares @ numbers
            elif (combined := reference_combination(rule, numbers[self.used])) is not None:
                yield combined
            return
        if rule.id not in WEIGHS_ALL:
            yield coefficients @ numbers
        if rule.id not in WEIGHS_ONE:
            yield self.shares @ numbers

    def check_trained(
        self, store: StoredRecords, parent: RoundLike, noise: DrawnAgain | None
    ) -> bool:
        """Check the trained tensors, and the arrays and numbers of the state."""
        record, strategy = self.record, self.record.strategy
        tensors = trained_tensors(self.layout)
        combined = self.combined(self.trained)
        if combined is None:
            return False
        protected = self._protected(combined, parent, noise)
        if protected is None:
            return False
        self._check_protected(protected)
        update = protected.update
        moved = self.scale(self.trained) + np.abs(update - combined) + protected.deviation
        sections = {}
        for name in strategy.sections:
            numbers = self._section(name)
            sections[name] = self.combined(numbers)
            moved += self.scale(numbers)
        base = _flat(self.base, tensors)
        rounds = 1 if record.state is None else record.state.rounds
        before = self._state_before(store, parent, rounds)
        held = self._held
        update = np.where(held, 0.0, update + (record.base_coefficient - 1) * base)
        self._check_observed(store, parent, update, before)
        observed = observed_arrays(strategy)
        stepped = reference_step(
            strategy.server_optimizer,
            base,
            Combined(
                update=update,
                sections={name: found for name, found in sections.items() if found is not None},
                agents=self._agents,
                population=strategy.population or 0,
                round=rounds,
            ),
            {name: array for name, array in before.items() if name not in observed},
        )
        if stepped is None:
            return False
        expected, state = stepped
        expected = np.where(held, base, expected)
        self._check_floats(tensors, expected, np.abs(base) + moved + np.abs(expected - base))
        if strategy.state:
            self._check_state(store, state, moved)
        return True

    @property
    def _held(self) -> NDArray[np.bool_]:
        """Which trained numbers keep the base's value."""
        frozen = self.frozen
        if frozen is None:
            return np.zeros(sum(t.numbers for t in trained_tensors(self.layout)), np.bool_)
        return frozen.read(0, frozen.numbers)

    def _check_observed(
        self,
        store: StoredRecords,
        parent: RoundLike,
        update: Vector,
        before: Mapping[str, Vector],
    ) -> None:
        """Check what freezing and synchronization keep."""
        record, state = self.record, self.record.state
        if state is None or not observed_arrays(record.strategy):
            return
        earlier = None if parent.record is None or state.rounds == 1 else parent.record.state
        after = read_state(store, record, self.layout)
        bits = read_frozen(store, record, self.layout)
        ObservedRound(
            what=self.what,
            update=update,
            frozen=self._held,
            round=state.rounds,
            rng=round_rng("freezing", record.job, record.round, record.task),
            before=before,
            numbers_before={} if earlier is None else earlier.numbers,
            after={name: array.astype(np.float64) for name, array in after.items()},
            numbers_after=state.numbers,
            frozen_after=self._held & False if bits is None else bits.read(0, bits.numbers),
        ).check(record.strategy)

    @property
    def _agents(self) -> int:
        """The number of updates; in a private round that of the agents wanted."""
        privacy = self.record.strategy.privacy
        return int(self.used.sum()) if privacy is None else privacy.cohort

    def _protected(
        self, combined: Vector, parent: RoundLike, noise: DrawnAgain | None
    ) -> Protected | None:
        """Return the combined update with its noise; None if that cannot be computed."""
        record, transforms = self.record, self.record.strategy.update_transforms
        if not transforms:
            return Protected(update=combined)
        draws = record.strategy.privacy is not None and record.strategy.privacy.noise == "collector"
        if len(transforms) > 1 or (draws and noise is None):
            return None
        before = None if parent.record is None else parent.record.state
        continues = record.state is not None and record.state.rounds > 1 and before is not None
        made = PrivateRound(
            combined=combined,
            updates=self.trained[self.used],
            tensors=tuple(tensor.numbers for tensor in trained_tensors(self.layout)),
            bits=[one.facts.norm_bit or 0.0 for one in record.contributors],
            numbers=before.numbers if continues and before is not None else {},
            cohort=self._agents,
            noise=noise,
        )
        return reference_protection(transforms[0], made)

    def _check_protected(self, protected: Protected) -> None:
        """Check that each update was clipped, and the numbers of the state."""
        lengths = np.linalg.norm(self.trained, axis=1)
        limit = protected.limit
        if limit is not None and (lengths > limit).any():
            longest = self.record.contributors[int(np.argmax(lengths))]
            raise RecordsError(
                f"{self.what} counts an update of {longest.agent} with the norm"
                f" {lengths.max():.6g}, and the limit is {limit:.6g}"
            )
        observed = observed_numbers(self.record.strategy)
        numbers = {} if self.record.state is None else self.record.state.numbers
        stored = {name: value for name, value in numbers.items() if name not in observed}
        expected = protected.numbers
        if stored.keys() != expected.keys() or not np.allclose(
            [stored[name] for name in expected], [*expected.values()], rtol=CLOSE, atol=0
        ):
            raise RecordsError(
                f"{self.what} keeps the numbers {stored}, where its mechanism makes {expected}"
            )

    def _section(self, name: str) -> Updates:
        return np.array([delta[SECTION_PREFIX + name] for delta in self.deltas], np.float64)

    def _state_before(
        self, store: StoredRecords, parent: RoundLike, rounds: int
    ) -> Mapping[str, Vector]:
        """Return the state that is stored with the base; zeros in the first round."""
        if rounds == 1 or parent.record is None:
            zeros = np.zeros(section_numbers(self.layout)) if self.record.strategy.state else None
            return {} if zeros is None else dict.fromkeys(self.record.strategy.state, zeros)
        stored = read_state(store, parent.record, self.layout)
        return {name: array.astype(np.float64) for name, array in stored.items()}

    def _check_floats(self, tensors: tuple[Tensor, ...], expected: Vector, scale: Vector) -> None:
        start, plain = 0, self.record.strategy.server_optimizer is None
        for tensor in tensors:
            end = start + tensor.numbers
            error = _float_error(
                tensor,
                self.committed[tensor.name].reshape(-1),
                expected[start:end],
                scale[start:end],
            )
            if error:
                made = "the mean of its updates" if plain else "its server optimizer's step"
                raise RecordsError(f"{self.what} is not {made}: tensor {tensor.name!r} {error}")
            start = end

    def _check_state(
        self, store: StoredRecords, expected: Mapping[str, Vector], moved: Vector
    ) -> None:
        stored = read_state(store, self.record, self.layout)
        for name, array in stored.items():
            if name not in expected:  # observed, and checked
                continue
            # What float64 loses where updates cancel each other is far below `moved`.
            bound = TOLERANCE * (np.abs(expected[name]) + TOLERANCE * moved) + _SMALLEST
            error = np.abs(array - expected[name])
            if not (error <= bound).all():
                where = next(
                    tensor
                    for tensor, wrong in split_section(error > bound, self.layout).items()
                    if wrong.any()
                )
                raise RecordsError(
                    f"{self.what}: the state array {name!r} is another one: that of tensor"
                    f" {where!r} differs by {error.max():.3g}"
                )


_SMALLEST = float(np.finfo(np.float32).smallest_subnormal)


def _check_local(what: str, tensor: Tensor, old: Array, new: Array) -> None:
    if old.tobytes() != new.tobytes():
        raise RecordsError(f"{what} changed tensor {tensor.name!r}, which is local to agents")


def _float_error(tensor: Tensor, committed: Array, expected: Vector, scale: Vector) -> str:
    """Return how a tensor of floats differs; "" if by no more than the rounding to its dtype."""
    # Rounded to the nearest value of the dtype; the smallest step of float16 is 6e-8.
    kind = np.finfo(tensor.dtype)
    rounding = max(TOLERANCE, float(kind.eps)) * scale + float(kind.smallest_subnormal)
    error = np.abs(committed.astype("f8") - expected)
    if (error <= rounding).all():
        return ""
    return f"differs by {error.max():.3g}, where its values are about {scale.max():.3g}"


def _check_mean(
    what: str, tensor: Tensor, moved: tuple[Array, Array], means: list[Vector], scale: Vector
) -> None:
    """Check that an untrained tensor changed by one of the means; whole numbers are rounded."""
    old, new = moved
    errors = []
    for mean in means:
        if np.dtype(tensor.dtype).kind == "f":
            before = old.astype("f8")
            errors.append(_float_error(tensor, new, before + mean, np.abs(before) + scale))
            continue
        error = np.abs(new.astype("i8") - old.astype("i8") - mean)
        fits = (error <= 0.5 + TOLERANCE * (1 + np.abs(mean))).all()
        changes = f"where its values change by about {np.abs(mean).max():.3g}"
        errors.append("" if fits else f"differs by {error.max():.3g}, {changes}")
    if errors and all(errors):
        raise RecordsError(
            f"{what} is not the mean of its updates: tensor {tensor.name!r} {errors[0]}"
        )


def _flat(arrays: Mapping[str, Array], tensors: tuple[Tensor, ...]) -> Vector:
    parts = (arrays[tensor.name].reshape(-1).astype(np.float64) for tensor in tensors)
    return np.concatenate([np.zeros(0), *parts])
