"""Deltas of the updates that agents offered, read again from their recorded bytes."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedbus import compression
from fedbus.digest import digest_of
from fedbus.model.blob import decode
from fedbus.model.blob_header import Blob
from fedbus.model.frozen_bits import FrozenBits
from fedbus.model.layout import Array, Layout
from fedbus.model.sections import update_layout
from fedbus.simulation.stored_records import RecordsError
from fedbus.wire.round_records import Contributor
from fedbus.wire.strategies import Strategy

Update: TypeAlias = Blob | NDArray[Any]
"""An agent's update: its blob, or all numbers of its delta in layout order."""


def offered_delta(  # noqa: PLR0913, PLR0917 - what the numbers of an update follow from
    what: str,
    one: Contributor,
    updates: Mapping[tuple[str, int], Update],
    layout: Layout,
    strategy: Strategy,
    frozen: FrozenBits | None = None,
) -> dict[str, Array]:
    """Return the numbers of a contributor's update by tensor name, as a collector reads them.

    Args:
        what: The round, for errors.
        one: The contributor.
        updates: Every offered update, by (agent, task).
        layout: The model's.
        strategy: The job's.
        frozen: The numbers that the round's updates leave out.

    Raises:
        RecordsError: The update was not offered, or is another one.
    """
    update = updates.get((one.agent, one.task))
    if update is None:
        raise RecordsError(
            f"{what} counts an update that {one.agent} did not offer, for task {one.task}"
        )
    shape = update_layout(layout, strategy.sections)
    if isinstance(update, np.ndarray):
        return dict(_by_tensor(update.reshape(-1), shape))
    if digest_of(update) != one.update:
        raise RecordsError(
            f"{what} counts other bytes than {one.agent} offered for task {one.task}"
        )
    if strategy.compression or frozen is not None:
        flags = None if frozen is None else frozen.read(0, frozen.numbers)
        update = compression.decode(update, layout, strategy.compression, flags)
    return decode(update, shape, "delta")


def _by_tensor(numbers: Array, layout: Layout) -> Iterator[tuple[str, Array]]:
    start = 0
    for tensor in layout.shared:
        yield tensor.name, numbers[start : start + tensor.numbers].reshape(tensor.shape)
        start += tensor.numbers
