"""Oracle of masked jobs: their versions computed again from the updates before they were masked.

    check_masked_records(store, made, job=job)

A test hands it what each agent masked. A deployment has this nowhere: it is in the memory of the
agents alone, until they mask it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedbus.model.fixed_point import Wholes, half
from fedbus.model.layout import Layout
from fedbus.simulation.oracle import RecordCounts, check_records
from fedbus.simulation.stored_records import RecordsError, StoredRecords, read_weights
from fedbus.wire.encryption import FixedPoint, Ranges
from fedbus.wire.round_records import Contributor

MaskedName = tuple[str, int, str]
"""An agent, its task, and the digest of the masked blob that it offered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateBeforeMask:
    """What an agent masked: whole numbers, and what they were made with."""

    numbers: Wholes
    ranges: Ranges
    max_examples: int


def check_masked_records(
    store: StoredRecords, made: Mapping[MaskedName, UpdateBeforeMask], *, job: str
) -> RecordCounts:
    """Check all records of a repository, and that each sum is that of its contributors alone.

    Args:
        store: The repository's store.
        made: What agents masked.
        job: The masked job whose versions are computed again.

    Raises:
        RecordsError: Two records contradict each other, or a version is not the mean of what its
            contributors masked; and as `readable_updates`.
    """
    return check_records(store, readable_updates(store, made, job=job), job=job)


def readable_updates(
    store: StoredRecords, made: Mapping[MaskedName, UpdateBeforeMask], *, job: str
) -> dict[tuple[str, int], NDArray[np.float64]]:
    """Return the numbers of each update that counts in a masked job, by agent and task.

    Raises:
        RecordsError: A contributor did not mask what counts, or clipped it to other ranges than
            those that follow from the round before.
    """
    updates: dict[tuple[str, int], NDArray[np.float64]] = {}
    ranges: Ranges | None = None
    for each in store.history():
        record = each.record
        if record is None or record.job != job or record.strategy.masking is None:
            continue
        fixed_point = record.strategy.masking.fixed_point
        layout = read_weights(store, each.version)[0] if each.version.kept else None
        for one in record.contributors:
            update = made.get((one.agent, one.task, one.update))
            if update is None:
                raise RecordsError(
                    f"round {record.round} of job {job!r} counts an update that {one.agent} did not"
                    f" mask, for task {one.task}"
                )
            if update.ranges != (ranges or update.ranges):
                raise RecordsError(
                    f"{one.agent} clipped its update for task {one.task} to other ranges than"
                    " those that the round before left"
                )
            if layout is not None:
                updates[one.agent, one.task] = _readable(update, one, layout, fixed_point)
        ranges = None if record.state is None else record.state.ranges
    return updates


def _readable(
    update: UpdateBeforeMask, one: Contributor, layout: Layout, fixed_point: FixedPoint
) -> NDArray[np.float64]:
    """Return an agent's differences, as the whole numbers have them."""
    sizes = [tensor.numbers for tensor in layout.shared]
    steps = np.repeat([2.0**exponent for exponent in update.ranges], sizes)
    most, weight = half(fixed_point.bits), one.examples / update.max_examples
    readable: NDArray[np.float64] = (update.numbers.astype(np.int64) - most) * (
        steps / most / weight
    )
    return readable
