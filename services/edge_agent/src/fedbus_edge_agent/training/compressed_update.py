"""Compression of an update on its agent, and what it leaves out."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedbus import compression
from fedbus.compression import Frozen, chain_of, loses_numbers
from fedbus.errors import LayoutError, PrivacyError, TrainingError
from fedbus.model import blob
from fedbus.model.blob import BLOCK_NUMBERS
from fedbus.model.layout import Array, Layout, Weights
from fedbus.model.sections import trained_tensors
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.training.private_task import agent_draws_noise, update_mechanism
from fedbus_edge_agent.training.residuals import residual_of

_COPIES: Final = 4
"""Copies of a model's bytes in memory while an update is compressed: all numbers in one array and
the body; then the blob, what the collector will read of it, and the residual. Measured: 2 to 4."""
_INDEX_COPIES: Final = 6
"""Copies for indices, if a step chooses all numbers. Measured: 5.5 with `top-k`."""

_COMPRESSION_SEED: Final = 3
"""Makes the chance of rounding another than those of shuffling and of transforms."""
_TRIES: Final = 4
_MARGIN: Final = 1 - 1e-5


@dataclass(frozen=True, slots=True)
class CompressedUpdate:
    """The bytes to offer, and what they leave out as one section; None: the chain loses nothing."""

    blob: bytearray
    residual: NDArray[np.float32] | None


def is_compressed(task: TrainTask) -> bool:
    """Return whether the updates of a task are compressed blobs."""
    return bool(task.compression) or task.frozen is not None


def keeps_residual(task: TrainTask) -> bool:
    """Return whether the compression of a task loses something that is sent later."""
    return loses_numbers(task.compression)


def compression_copies(task: TrainTask) -> int:
    """Return how many copies of a model's bytes compression and a thin base take in memory."""
    copies = 0 if task.base.thin is None else 1
    if not is_compressed(task):
        return copies
    selection = chain_of(task.compression).selection
    indices = 0 if selection is None else math.ceil(_INDEX_COPIES * selection.fraction)
    return copies + max(_COPIES, 2 + indices)


def check_compression(task: TrainTask) -> None:
    """Decline a task whose updates this agent cannot compress.

    Raises:
        PluginError: The steps are no chain, or a package is missing.
        TrainingError: The update has arrays that no step compresses.
    """
    if not is_compressed(task):
        return
    chain_of(task.compression).check_installed()
    if task.sections:
        raise TrainingError(
            f"the strategy needs the section {task.sections[0]!r} of updates, which cannot be "
            "compressed; take a strategy without sections, such as fedavg, or no transmitter"
        )


def compressed_update(
    task: TrainTask, layout: Layout, delta: bytearray, frozen: Frozen | None = None
) -> CompressedUpdate:
    """Compress a delta blob, to which the residual was added before it was protected.

    Where a privacy mechanism bounds the update and the collector measures that, what the collector
    reads is not longer than what the mechanism returned: rounding may make it longer, and then all
    of it is scaled down.

    Raises:
        TrainingError: A number is NaN or infinite.
        PrivacyError: What the collector reads stays longer.
        PluginError: As `check_compression`.
    """
    intended = blob.decode(delta, layout, "delta")
    bounded = update_mechanism(task.privacy) is not None and not agent_draws_noise(task)
    limit = _norm(intended, layout) if bounded else math.inf
    factor = 1.0
    for _ in range(_TRIES):
        rng = np.random.default_rng((task.params.seed, _COMPRESSION_SEED))
        sent, read = _encoded(task, layout, _scaled(intended, layout, factor), rng, frozen)
        norm = _norm(read, layout) if bounded else 0.0
        if norm <= limit:
            kept = keeps_residual(task)
            return CompressedUpdate(sent, residual_of(intended, read, layout) if kept else None)
        factor *= limit / norm * _MARGIN
        del sent, read  # memory for the next try
    raise PrivacyError(
        f"the compressed update is longer than the privacy mechanism allows after {_TRIES} tries; "
        "more bits in the step quantize help"
    )


def _encoded(
    task: TrainTask,
    layout: Layout,
    intended: Weights,
    rng: np.random.Generator,
    frozen: Frozen | None,
) -> tuple[bytearray, dict[str, Array]]:
    steps = task.compression
    try:
        sent = compression.encode(intended, layout, steps, rng, frozen)
    except LayoutError as error:
        raise TrainingError(
            f"the update cannot be compressed ({error}); a lower learning_rate may help"
        ) from error
    read = compression.decode(sent, layout, steps, frozen)
    return sent, blob.decode(read, layout, "delta")


def _scaled(intended: Weights, layout: Layout, factor: float) -> Weights:
    if factor == 1:
        return intended
    scaled = {tensor.name: intended[tensor.name] * factor for tensor in trained_tensors(layout)}
    return {**intended, **scaled}


def _norm(arrays: Weights, layout: Layout) -> float:
    """Return the L2 norm of all trained differences, float64."""
    squares = 0.0
    for tensor in trained_tensors(layout):
        flat = arrays[tensor.name].reshape(-1)
        for at in range(0, flat.size, BLOCK_NUMBERS):
            numbers = flat[at : at + BLOCK_NUMBERS].astype("f8")
            squares += float(numbers @ numbers)
    return math.sqrt(squares)
