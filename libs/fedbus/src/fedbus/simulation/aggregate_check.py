"""Second computation of a round's aggregate from the updates that agents offered."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedbus.digest import digest_of
from fedbus.model.blob import decode
from fedbus.model.blob_header import Blob
from fedbus.model.layout import Layout, Tensor
from fedbus.simulation.stored_records import (
    RecordsError,
    RoundLike,
    StoredRecords,
    VersionLike,
    read_weights,
)
from fedbus.wire.round_records import Contributor

TOLERANCE = 1e-6
"""Relative to the sum of the absolute values: |base| + the mean of |delta|."""

Update: TypeAlias = Blob | NDArray[Any]
"""An agent's delta: its blob, or all its numbers in layout order."""


def check_aggregate(
    store: StoredRecords,
    each: RoundLike,
    parent: VersionLike,
    updates: Mapping[tuple[str, int], Update],
) -> None:
    """Check that a version is its base plus the float64 mean of its updates, tensor by tensor.

    Args:
        each: The version and the record of its round.
        parent: The base version.
        updates: Every offered update, by (agent, task).

    Raises:
        RecordsError: the aggregate is not that mean, or an update is not the offered one.
    """
    record = each.record
    assert record is not None  # noqa: S101 - the caller has checked
    what = f"round {record.round} of job {record.job!r}"
    layout, committed = read_weights(store, each.version)
    _, base = read_weights(store, parent)
    deltas = [_delta(what, one, updates, layout) for one in record.contributors]
    shares = np.array([one.coefficient for one in record.contributors], "f8")
    for tensor in layout.tensors:
        old, new = base[tensor.name], committed[tensor.name]
        if tensor.role == "local":
            _check_local(what, tensor, old, new)
        elif np.dtype(tensor.dtype).kind == "f":
            expected = old.astype("f8")
            scale = np.abs(expected)
            for share, delta in zip(shares, deltas, strict=True):
                expected += share * delta[tensor.name]
                scale += share * np.abs(delta[tensor.name], dtype="f8")
            _check_floats(what, tensor, new, expected, scale)
        else:
            mean = np.zeros(tensor.shape)
            for share, delta in zip(shares, deltas, strict=True):
                mean += share * delta[tensor.name]
            _check_whole(what, tensor, new.astype("i8") - old.astype("i8"), mean)


def _check_local(what: str, tensor: Tensor, old: NDArray[Any], new: NDArray[Any]) -> None:
    if old.tobytes() != new.tobytes():
        raise RecordsError(f"{what} changed tensor {tensor.name!r}, which is local to agents")


def _check_floats(
    what: str,
    tensor: Tensor,
    committed: NDArray[Any],
    expected: NDArray[np.float64],
    scale: NDArray[np.float64],
) -> None:
    # Rounded to the nearest value of the dtype; the smallest step of float16 is 6e-8.
    kind = np.finfo(tensor.dtype)
    rounding = max(TOLERANCE, float(kind.eps)) * scale + float(kind.smallest_subnormal)
    error = np.abs(committed.astype("f8") - expected)
    if not (error <= rounding).all():
        raise RecordsError(
            f"{what} is not the mean of its updates: tensor {tensor.name!r} differs by"
            f" {error.max():.3g}, where its values are about {scale.max():.3g}"
        )


def _check_whole(
    what: str, tensor: Tensor, moved: NDArray[np.int64], mean: NDArray[np.float64]
) -> None:
    """Check that whole numbers changed by the mean of their differences, rounded."""
    error = np.abs(moved - mean)
    if not (error <= 0.5 + TOLERANCE * (1 + np.abs(mean))).all():
        raise RecordsError(
            f"{what} is not the mean of its updates: tensor {tensor.name!r} differs by"
            f" {error.max():.3g}, where its values change by about {np.abs(mean).max():.3g}"
        )


def _delta(
    what: str,
    one: Contributor,
    updates: Mapping[tuple[str, int], Update],
    layout: Layout,
) -> dict[str, NDArray[Any]]:
    update = updates.get((one.agent, one.task))
    if update is None:
        raise RecordsError(
            f"{what} counts an update that {one.agent} did not offer, for task {one.task}"
        )
    if isinstance(update, np.ndarray):
        return dict(_by_tensor(update.reshape(-1), layout))
    if digest_of(update) != one.update:
        raise RecordsError(
            f"{what} counts other bytes than {one.agent} offered for task {one.task}"
        )
    return decode(update, layout, "delta")


def _by_tensor(numbers: NDArray[Any], layout: Layout) -> Iterator[tuple[str, NDArray[Any]]]:
    start = 0
    for tensor in layout.shared:
        yield tensor.name, numbers[start : start + tensor.numbers].reshape(tensor.shape)
        start += tensor.numbers
