"""Sealing of an update after its strategy and privacy mechanism: how its bytes leave the agent."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedbus.encryption.key_files import SecretKey
from fedbus.errors import PrivacyError
from fedbus.model.layout import Layout
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.compressed_update import compressed_update, is_compressed
from fedbus_edge_agent.training.encrypted_task import KEY_MISSING
from fedbus_edge_agent.training.encrypted_update import TrainedFrom, encrypted_update


@dataclass(frozen=True, slots=True)
class SealedUpdate:
    """The bytes of an update, as they are offered.

    Attributes:
        blob: The bytes.
        ranges: Those that the update needed.
        residual: What compression left out, as one section; None: nothing is kept.
    """

    blob: bytes | bytearray
    ranges: tuple[int, ...] = ()
    residual: NDArray[np.float32] | None = None


def sealed_update(  # noqa: PLR0913, PLR0917 - what some ways of sealing need
    task: TrainTask,
    layout: Layout,
    delta: bytearray,
    trained: TrainedFrom,
    key: SecretKey | None,
    control: TaskControl,
) -> SealedUpdate:
    """Return a delta blob as the task wants it: as it is, compressed or encrypted.

    Raises:
        FedbusError: See `compressed_update`.
        PrivacyError: The task wants what this agent cannot do: the update must not leave it.
        Stopped: The task was cancelled.
    """
    if task.masking is not None:
        raise PrivacyError("a masked update is not stored before it is masked")
    if task.encryption is not None:
        if key is None:
            raise PrivacyError(KEY_MISSING)
        return SealedUpdate(
            *encrypted_update(task, task.encryption, layout, delta, trained, key, control)
        )
    if is_compressed(task):
        made = compressed_update(task, layout, delta, trained.frozen)
        return SealedUpdate(made.blob, residual=made.residual)
    return SealedUpdate(delta)
