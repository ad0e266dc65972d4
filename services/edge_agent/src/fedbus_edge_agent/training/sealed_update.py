"""Sealing of an update after its strategy and privacy mechanism: how its bytes leave the agent."""

from dataclasses import dataclass

from fedbus.errors import PrivacyError
from fedbus.model.layout import Layout
from fedbus.wire.messages import TrainTask


@dataclass(frozen=True, slots=True)
class SealedUpdate:
    """The bytes of an update, as they are offered, and the ranges that it needed."""

    blob: bytes | bytearray
    ranges: tuple[int, ...] = ()


def sealed_update(task: TrainTask, layout: Layout, delta: bytearray) -> SealedUpdate:  # noqa: ARG001 - what encrypts or compresses needs the layout
    """Return a delta blob as the task wants it: as it is, compressed or encrypted.

    Raises:
        PrivacyError: The task wants what this agent cannot do: the update must not leave it.
    """
    if task.encryption is not None or task.masking is not None:
        raise PrivacyError("this agent cannot encrypt or mask updates")
    return SealedUpdate(delta)
