"""A finished training on the disk: what its strategy keeps, and the update that is offered."""

import numpy as np
from numpy.typing import NDArray

from fedbus.model.layout import Layout
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.private_offer import TrainingReport
from fedbus_edge_agent.training.private_task import agent_draws_noise
from fedbus_edge_agent.training.task_runner import TrainingResult, store_update


def store_finished(  # noqa: PLR0913, PLR0917 - what is stored, and where
    outbox: Outbox,
    task: TrainTask,
    layout: Layout,
    blob: bytes | bytearray,
    report: TrainingReport,
    own: NDArray[np.float32] | None,
) -> TrainingResult:
    """Write what the objective keeps, then the update: an offer never exists without it."""
    if agent_draws_noise(task):
        outbox.released.record(task)
    states, offered = outbox.own_states, (report.examples, report.metrics, report.facts)
    if own is None:
        return store_update(outbox, task, blob, *offered, ranges=report.ranges)
    states.save_pending(task, layout, own)
    try:
        return store_update(outbox, task, blob, *offered, keeps_state=True)
    except Exception:
        states.discard_pending(task)
        raise
