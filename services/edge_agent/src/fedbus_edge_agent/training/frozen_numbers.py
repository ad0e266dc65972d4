"""Frozen numbers in a training: the trainer may move them, and the update does not have it."""

import numpy as np

from fedbus.compression import Frozen
from fedbus.errors import TrainingError
from fedbus.model.blob_header import Blob
from fedbus.model.frozen_bits import FrozenBits
from fedbus.model.layout import Array, Layout, Weights
from fedbus.model.sections import trained_tensors
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.training.checks import check_digest


def frozen_numbers(task: TrainTask, layout: Layout, blob: Blob | None) -> Frozen | None:
    """Return which trained numbers a task freezes; None: none.

    Raises:
        FedbusError: The bits are not here, or not those that the task names.
    """
    if task.frozen is None:
        return None
    if blob is None:
        raise TrainingError("the bits of the numbers that the task freezes are not here")
    check_digest(blob, task.frozen)
    bits = FrozenBits.of_blob(blob, layout)
    return bits.read(0, bits.numbers)


def held_at_base(weights: Weights, base: Weights, layout: Layout, frozen: Frozen | None) -> Weights:
    """Return trained weights with the frozen numbers of the base."""
    if frozen is None:
        return weights
    held: dict[str, Array] = dict(weights)
    start = 0
    for tensor in trained_tensors(layout):
        bits = frozen[start : start + tensor.numbers].reshape(tensor.shape)
        held[tensor.name] = np.where(bits, base[tensor.name], weights[tensor.name])
        start += tensor.numbers
    return held
