"""Tasks whose energy is measured, and the bytes that are moved for them. Pure."""

from fedbus.wire.messages import EvaluateTask, TrainTask


def is_measured(task: TrainTask | EvaluateTask) -> bool:
    """Return whether the agent reports the energy of a task.

    How much a training uses depends on the agent's data. So it is not reported with a private,
    encrypted or masked update.
    """
    if isinstance(task, TrainTask) and (task.privacy or task.encryption or task.masking):
        return False
    return task.measures_energy


def transferred_bytes(task: TrainTask, update: int) -> int:
    """Return the bytes of a training's blobs, with an update of `update` bytes.

    What the agent had already, or got by multicast with others, is counted as if it was sent to it.
    """
    blobs = (task.base.download, task.state, task.frozen)
    return update + sum(blob.size for blob in blobs if blob is not None)
