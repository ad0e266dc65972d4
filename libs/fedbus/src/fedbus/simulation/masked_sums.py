"""Exact check of masked rounds: whole numbers are added again, and the version is equal bit by bit.

    check_masked_sums(store, made, job=job)

Rounds whose collector adds noise or has a server optimizer are not exact: `check_masked_records`
computes those with a tolerance.
"""

from collections.abc import Mapping
from itertools import accumulate, pairwise

import numpy as np

from fedbus.model.fixed_point import half
from fedbus.simulation.masked_records import MaskedName, UpdateBeforeMask
from fedbus.simulation.stored_records import (
    RecordsError,
    RoundLike,
    StoredRecords,
    name_of,
    read_weights,
)
from fedbus.wire.round_records import RoundRecord


def check_masked_sums(
    store: StoredRecords, made: Mapping[MaskedName, UpdateBeforeMask], *, job: str
) -> int:
    """Check that each version is its base and the mean of its contributors' whole numbers.

    Returns:
        The number of rounds that are exact.

    Raises:
        RecordsError: A version has another number.
    """
    history = list(store.history())
    entries = {(each.version.model, each.version.version): each for each in history}
    exact = 0
    for each in history:
        record = each.record
        if record is not None and record.job == job and each.version.kept and _is_exact(record):
            parent = entries[record.model, record.parent]
            if parent.version.kept:
                _check_sum(store, each, parent, record, made)
                exact += 1
    return exact


def _is_exact(record: RoundRecord) -> bool:
    strategy = record.strategy
    noise = "agents" if strategy.privacy is None else strategy.privacy.noise
    masked = strategy.masking is not None
    return masked and strategy.server_optimizer is None and noise == "agents"


def _check_sum(
    store: StoredRecords,
    each: RoundLike,
    parent: RoundLike,
    record: RoundRecord,
    made: Mapping[MaskedName, UpdateBeforeMask],
) -> None:
    strategy = record.strategy
    assert strategy.masking is not None  # noqa: S101 - the caller has checked
    updates = [made[one.agent, one.task, one.update] for one in record.contributors]
    most, first = half(strategy.masking.fixed_point.bits), updates[0]
    examples = sum(one.examples for one in record.contributors)
    divisor = examples if strategy.privacy is None else strategy.privacy.cohort
    total = np.sum([one.numbers.astype(np.int64) - most for one in updates], axis=0)
    layout, base = read_weights(store, parent.version)
    committed = read_weights(store, each.version)[1]
    ends = accumulate((tensor.numbers for tensor in layout.shared), initial=0)
    places = pairwise(ends)
    for tensor, (start, end), exponent in zip(layout.shared, places, first.ranges, strict=True):
        mean = total[start:end] * (2.0**exponent / most / (divisor / first.max_examples))
        old = base[tensor.name]
        expected = (old.astype(np.float64) + mean.reshape(tensor.shape)).astype(old.dtype)
        if not np.array_equal(expected, committed[tensor.name]):
            raise RecordsError(
                f"{name_of(each.version)} is not the base and the exact mean of what its "
                f"{len(updates)} contributors masked: tensor {tensor.name!r}"
            )
