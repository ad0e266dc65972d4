"""Second computation of a round's version and state from the updates that agents offered."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from fedbus.compression.round_chance import round_rng
from fedbus.model.layout import Array, Tensor
from fedbus.model.sections import split_section, trained_tensors
from fedbus.plugins import Combined
from fedbus.simulation.offered_deltas import Update
from fedbus.simulation.protected_update import protected_update
from fedbus.simulation.reference_observers import ObservedRound, observed_arrays
from fedbus.simulation.reference_optimizers import reference_step
from fedbus.simulation.reference_privacy import DrawnAgain
from fedbus.simulation.reference_rules import Vector, coefficient_fault
from fedbus.simulation.round_arrays import TOLERANCE, RoundArrays, float_error
from fedbus.simulation.stored_records import (
    RecordsError,
    RoundLike,
    StoredRecords,
    read_frozen,
    read_state,
)
from fedbus.simulation.untrained_check import check_untrained
from fedbus.wire.round_records import RoundRecord

_SMALLEST = float(np.finfo(np.float32).smallest_subnormal)

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
    arrays = RoundArrays.read(store, each, parent, updates)
    record = arrays.record
    fault = coefficient_fault(
        record.strategy.aggregator, record.contributors, record.base_coefficient, arrays.trained
    )
    if fault is not None:
        raise RecordsError(f"{arrays.what}: {fault}")
    check_untrained(arrays)
    return _check_trained(store, arrays, parent, drawn_again(record))


def _check_trained(
    store: StoredRecords, arrays: RoundArrays, parent: RoundLike, noise: DrawnAgain | None
) -> bool:
    """Check the trained tensors, and the arrays and numbers of the state."""
    record, strategy = arrays.record, arrays.record.strategy
    combined = arrays.combined(arrays.trained)
    protected = None if combined is None else protected_update(arrays, combined, parent, noise)
    if combined is None or protected is None:
        return False
    update = protected.update
    moved = arrays.scale(arrays.trained) + np.abs(update - combined) + protected.deviation
    sections = {}
    for name in strategy.sections:
        numbers = arrays.section(name)
        sections[name] = arrays.combined(numbers)
        moved += arrays.scale(numbers)
    tensors = trained_tensors(arrays.layout)
    base = _flat(arrays.base, tensors)
    before = arrays.state_before(store, parent)
    update = np.where(arrays.held, 0.0, update + (record.base_coefficient - 1) * base)
    _check_observed(store, arrays, parent, update, before)
    observed = observed_arrays(strategy)
    stepped = reference_step(
        strategy.server_optimizer,
        base,
        Combined(
            update=update,
            sections={name: found for name, found in sections.items() if found is not None},
            agents=arrays.agents,
            population=strategy.population or 0,
            round=1 if record.state is None else record.state.rounds,
        ),
        {name: array for name, array in before.items() if name not in observed},
    )
    if stepped is None:
        return False
    expected, state = stepped
    expected = np.where(arrays.held, base, expected)
    _check_floats(arrays, tensors, expected, np.abs(base) + moved + np.abs(expected - base))
    if strategy.state:
        _check_state(store, arrays, state, moved)
    return True


def _check_observed(
    store: StoredRecords,
    arrays: RoundArrays,
    parent: RoundLike,
    update: Vector,
    before: Mapping[str, Vector],
) -> None:
    """Check what freezing and synchronization keep."""
    record, state = arrays.record, arrays.record.state
    if state is None or not observed_arrays(record.strategy):
        return
    earlier = None if parent.record is None or state.rounds == 1 else parent.record.state
    after = read_state(store, record, arrays.layout)
    bits = read_frozen(store, record, arrays.layout)
    ObservedRound(
        what=arrays.what,
        update=update,
        frozen=arrays.held,
        round=state.rounds,
        rng=round_rng("freezing", record.job, record.round, record.task),
        before=before,
        numbers_before={} if earlier is None else earlier.numbers,
        after={name: array.astype(np.float64) for name, array in after.items()},
        numbers_after=state.numbers,
        frozen_after=arrays.held & False if bits is None else bits.read(0, bits.numbers),
    ).check(record.strategy)


def _check_floats(
    arrays: RoundArrays, tensors: tuple[Tensor, ...], expected: Vector, scale: Vector
) -> None:
    start, plain = 0, arrays.record.strategy.server_optimizer is None
    for tensor in tensors:
        end = start + tensor.numbers
        committed = arrays.committed[tensor.name].reshape(-1)
        if error := float_error(tensor, committed, expected[start:end], scale[start:end]):
            made = "the mean of its updates" if plain else "its server optimizer's step"
            raise RecordsError(f"{arrays.what} is not {made}: tensor {tensor.name!r} {error}")
        start = end


def _check_state(
    store: StoredRecords, arrays: RoundArrays, expected: Mapping[str, Vector], moved: Vector
) -> None:
    stored = read_state(store, arrays.record, arrays.layout)
    for name, array in stored.items():
        if name not in expected:  # observed, and checked
            continue
        # What float64 loses where updates cancel each other is far below `moved`.
        bound = TOLERANCE * (np.abs(expected[name]) + TOLERANCE * moved) + _SMALLEST
        error = np.abs(array - expected[name])
        if not (error <= bound).all():
            where = next(
                tensor
                for tensor, wrong in split_section(error > bound, arrays.layout).items()
                if wrong.any()
            )
            raise RecordsError(
                f"{arrays.what}: the state array {name!r} is another one: that of tensor"
                f" {where!r} differs by {error.max():.3g}"
            )


def _flat(arrays: Mapping[str, Array], tensors: tuple[Tensor, ...]) -> Vector:
    parts = (arrays[tensor.name].reshape(-1).astype(np.float64) for tensor in tensors)
    return np.concatenate([np.zeros(0), *parts])
