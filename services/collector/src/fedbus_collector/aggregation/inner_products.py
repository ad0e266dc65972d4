"""Inner products of a base and updates (Gram matrix), block by block in float64. Pure."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedbus.blobs.spool import Spool
from fedbus.errors import LayoutError
from fedbus.model.blob_header import MAX_BLOB_HEADER_BYTES, check_header
from fedbus_collector.aggregation.tensor_runs import (
    UpdateRuns,
    blocks_of,
    read,
    runs_of,
    stack_length,
)
from fedbus_collector.aggregation.verification import VerifiedUpdate

MAX_GRAM_BYTES: Final = 256 * 2**20
MAX_SQUARED_NORM: Final = 1e200
"""Of an update: more than float32 numbers can make, and rules may square and add it in float64."""


def check_norm(runs: UpdateRuns, update: VerifiedUpdate) -> None:
    """Raise LayoutError if the squared norm of an update's trained tensors is above the limit."""
    squares = 0.0
    with np.errstate(over="ignore"):  # refused below
        for run in runs.model:
            if run.treatment == "trained" and run.dtype == "float64":
                for block in blocks_of(run):
                    numbers = update.read(run, block)
                    squares += float(numbers @ numbers)
    if not squares <= MAX_SQUARED_NORM:
        raise LayoutError(
            f"the squared norm of the update is {squares:.4g}; rules that compare updates use at"
            f" most {MAX_SQUARED_NORM:g}"
        )


def gram_matrix(
    runs: UpdateRuns, base: Spool, updates: tuple[VerifiedUpdate, ...], *, by_tensor: bool
) -> NDArray[np.float64]:
    """Return the inner products over the trained tensors; row 0 is the base.

    Shape (1 + agents, 1 + agents), or with `by_tensor` (tensors, 1 + agents, 1 + agents).

    Raises:
        LayoutError: The base is not a plain blob of the layout, no tensor is trained, or the
            products are more than MAX_GRAM_BYTES or too large for float64.
    """
    with base.read(0, min(MAX_BLOB_HEADER_BYTES, base.size)) as prefix:
        offset = check_header(prefix, base.size, runs.layout, "plain").offset
    trained = [
        run for run in runs_of(runs.layout, joined=not by_tensor) if run.treatment == "trained"
    ]
    if not trained:
        raise LayoutError("a model without floating-point weights has no inner products")
    rows = 1 + len(updates)
    size = (len(trained) if by_tensor else 1) * rows * rows * 8
    if size > MAX_GRAM_BYTES:
        raise LayoutError(
            f"inner products of {rows - 1} updates take {size} bytes; at most {MAX_GRAM_BYTES}:"
            " select fewer agents in each round"
        )
    products = np.zeros((len(trained) if by_tensor else 1, rows, rows))
    length = stack_length(rows, third_party=False)
    stack = np.empty((rows, length))
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        for at, run in enumerate(trained):
            for block in blocks_of(run, length):
                part = stack[:, : block.numbers]
                part[0] = read(base, offset + run.plain, run.dtype, block)
                for row, update in zip(part[1:], updates, strict=True):
                    row[:] = update.read(run, block)
                products[at if by_tensor else 0] += part @ part.T
    if not np.isfinite(products).all():
        raise LayoutError("the inner products of the updates are too large for float64")
    return products if by_tensor else products[0]


def greatest_distance(gram: NDArray[np.float64]) -> float:
    """Return the greatest distance of two updates; 0 if there are fewer than two.

    A distance is the mean over the trained tensors of the L2 distances, as in arXiv 2502.01352.

    Args:
        gram: Inner products by tensor, as `gram_matrix` returns them.
    """
    updates = gram[:, 1:, 1:]
    squares = np.diagonal(updates, axis1=1, axis2=2)
    squared = squares[:, :, None] + squares[:, None, :] - 2 * updates
    by_pair: NDArray[np.float64] = np.sqrt(np.maximum(squared, 0.0)).mean(axis=0)
    return float(by_pair.max(initial=0.0))
