"""Clipping to a norm: of an update by its agent, of a combined update by the collector. Pure.

An update is never longer than the limit once its numbers are rounded to the dtypes of the model:
each number is rounded towards zero, and the limit of an agent is a millionth below that of the
collector, which may add up the squares in another order.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fedbus.errors import TrainingError
from fedbus.model.layout import Array, Weights
from fedbus.plugins import Block

CLIPPING_MARGIN: Final = 1e-6
"""By which share of the limit an agent stays below it."""
_BLOCK: Final = 2**16
"""Numbers that are converted to float64 at once."""


@dataclass(frozen=True, slots=True)
class ClippedUpdate:
    """An update within a limit, and its norm before it was clipped."""

    update: Weights
    norm: float


def l2_norm(update: Weights) -> float:
    """Return the root of the sum of all squares, float64."""
    return math.sqrt(sum(float(np.dot(block, block)) for block in _blocks(update)))


def l1_norm(update: Weights) -> float:
    """Return the sum of all absolute values, float64."""
    return math.fsum(float(np.abs(block).sum()) for block in _blocks(update))


def clipped(
    update: Weights, limit: float, norm_of: Callable[[Weights], float] = l2_norm
) -> ClippedUpdate:
    """Return update * min(1, limit / norm), with the margin.

    Raises:
        TrainingError: A number of the update, or its norm, is NaN or infinite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        norm = norm_of(update)
    if not math.isfinite(norm):
        raise TrainingError(
            f"the norm of the update is {norm}, so it cannot be clipped: the training diverged; "
            "a lower learning rate may help"
        )
    limit *= 1 - CLIPPING_MARGIN
    if norm <= limit:
        return ClippedUpdate(update, norm)
    factor = limit / norm
    return ClippedUpdate({name: _scaled(array, factor) for name, array in update.items()}, norm)


def clipped_block(block: Block, norm: float | None, limit: float) -> Block:
    """Return a block of a combined update with this norm: block * min(1, limit / norm).

    Raises:
        ValueError: The norm is missing, NaN or infinite.
    """
    if norm is None or not math.isfinite(norm):
        raise ValueError(f"the norm of the combined update is {norm}: it cannot be clipped")
    limit *= 1 - CLIPPING_MARGIN
    return block if norm <= limit else block * (limit / norm)


def flat_blocks(array: Array) -> Iterator[Array]:
    """Yield the numbers of an array in blocks, shape (numbers,), of a bounded size."""
    flat = array.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        yield flat[start : start + _BLOCK]


def _blocks(update: Weights) -> Iterator[Block]:
    for array in update.values():
        for block in flat_blocks(array):
            yield block.astype(np.float64)


def _scaled(array: Array, factor: float) -> Array:
    made = np.empty(array.size, array.dtype)
    for target, block in zip(flat_blocks(made), flat_blocks(array), strict=True):
        target[:] = _rounded_towards_zero(block.astype(np.float64) * factor, array.dtype)
    return made.reshape(array.shape)


def _rounded_towards_zero(exact: Block, dtype: np.dtype[Any]) -> Array:
    rounded: Array = exact.astype(dtype)
    longer = np.abs(rounded.astype(np.float64)) > np.abs(exact)
    rounded[longer] = np.nextafter(rounded[longer], dtype.type(0))
    return rounded
