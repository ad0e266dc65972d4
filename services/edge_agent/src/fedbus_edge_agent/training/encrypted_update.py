"""Encrypted update of a training: its whole distance from the anchor. In the training thread."""

from dataclasses import dataclass

import numpy as np

from fedbus.compression import Frozen
from fedbus.encryption.encrypt import encrypt_update
from fedbus.encryption.encrypted_blob import planned_header
from fedbus.encryption.key_files import SecretKey
from fedbus.model.blob import decode
from fedbus.model.blob_header import Blob
from fedbus.model.fixed_point import fixed_point_tensors
from fedbus.model.layout import Array, Layout
from fedbus.wire.encryption import EncryptionTerms, Ranges
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.offered_ranges import check_private_ranges, offered_ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedFrom:
    """What a finished training began with, and what may be known of its update.

    Attributes:
        base: The plain blob of the base's weights.
        anchor: The plain weights of the base's anchor; None if the base is not encrypted, and so
            is the anchor itself.
        examples: The agent's training examples.
        bound: The greatest number of the difference by the terms of the privacy mechanism, whose
            noise other agents complete; None: the difference may be known as far as its offer
            tells it.
        frozen: The trained numbers that the update leaves out; None: none.
    """

    base: Blob
    anchor: Blob | None
    examples: int
    bound: float | None = None
    frozen: Frozen | None = None


def encrypted_update(  # noqa: PLR0913, PLR0917 - what is encrypted, and how
    task: TrainTask,
    terms: EncryptionTerms,
    layout: Layout,
    delta: Blob,
    trained: TrainedFrom,
    key: SecretKey,
    control: TaskControl,
) -> tuple[bytearray, Ranges]:
    """Encrypt the distance from the anchor, and return the ranges that it needed.

    Args:
        task: The task, whose ranges the numbers are clipped to.
        terms: The task's.
        layout: The model's.
        delta: The difference from the base that leaves the agent, noise included.
        trained: What the training began with.
        key: The secret key.
        control: Asked before each ciphertext whether to go on.

    Raises:
        FedbusError: A blob is damaged, or the update cannot be encrypted with these terms.
        Stopped: The task was cancelled.
    """
    control.check()
    before = _distance_of_base(layout, trained)
    bits = terms.fixed_point.bits if terms.scheme == "bfv" else None
    check_private_ranges(task, layout, before, trained.bound, bits)
    differences = decode(delta, layout, "delta")
    update = {
        name: (distance + differences[name].astype(np.float64)).astype(differences[name].dtype)
        for name, distance in before.items()
    }
    encryption = task.base.encryption
    anchor = task.base.weights if encryption is None else encryption.anchor_weights
    header = planned_header(
        terms, layout, anchor=anchor.digest, ranges=task.ranges, max_examples=task.max_examples
    )
    rng = np.random.default_rng()  # seeded by the operating system
    examples = min(trained.examples, task.max_examples)
    blob = encrypt_update(update, layout, header, examples, key, rng, control.check)
    ranges = offered_ranges(task, terms.fixed_point, layout, before, update, trained.bound)
    return blob, ranges


def _distance_of_base(layout: Layout, trained: TrainedFrom) -> dict[str, Array]:
    """Return the distances of the base from the anchor, float64, without local tensors."""
    tensors = fixed_point_tensors(layout)
    if trained.anchor is None:
        return {tensor.name: np.zeros(tensor.shape) for tensor in tensors}
    base, anchor = (decode(blob, layout, "plain") for blob in (trained.base, trained.anchor))
    return {
        tensor.name: base[tensor.name].astype(np.float64) - anchor[tensor.name].astype(np.float64)
        for tensor in tensors
    }
