"""Sealing of an update after its strategy and privacy mechanism: how its bytes leave the agent."""

from dataclasses import dataclass

from fedbus.encryption.key_files import SecretKey
from fedbus.errors import PrivacyError
from fedbus.model.layout import Layout
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.encrypted_task import KEY_MISSING
from fedbus_edge_agent.training.encrypted_update import TrainedFrom, encrypted_update


@dataclass(frozen=True, slots=True)
class SealedUpdate:
    """The bytes of an update, as they are offered, and the ranges that it needed."""

    blob: bytes | bytearray
    ranges: tuple[int, ...] = ()


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
        PrivacyError: The task wants what this agent cannot do: the update must not leave it.
        Stopped: The task was cancelled.
    """
    if task.masking is not None:
        raise PrivacyError("this agent cannot mask updates")
    if task.encryption is None:
        return SealedUpdate(delta)
    if key is None:
        raise PrivacyError(KEY_MISSING)
    return SealedUpdate(
        *encrypted_update(task, task.encryption, layout, delta, trained, key, control)
    )
