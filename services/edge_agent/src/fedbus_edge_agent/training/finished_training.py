"""A finished training on the disk: what is kept for the next one, and the offered update."""

import numpy as np
from numpy.typing import NDArray

from fedbus.model.layout import Layout
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.private_offer import TrainingReport
from fedbus_edge_agent.training.private_task import agent_draws_noise
from fedbus_edge_agent.training.sealed_update import SealedUpdate
from fedbus_edge_agent.training.task_runner import TrainingResult, store_update


def store_finished(  # noqa: PLR0913, PLR0917 - what is stored, and where
    outbox: Outbox,
    task: TrainTask,
    layout: Layout,
    sealed: SealedUpdate,
    report: TrainingReport,
    own: NDArray[np.float32] | None,
) -> TrainingResult:
    """Write what objective and compression keep, then the update: no offer exists without it."""
    if agent_draws_noise(task):
        outbox.released.record(task)
    both = ((outbox.own_states, own), (outbox.residuals, sealed.residual))
    kept = [(states, array) for states, array in both if array is not None]
    offered = (report.examples, report.metrics, report.facts)
    try:
        for states, array in kept:
            states.save_pending(task, layout, array)
        return store_update(
            outbox,
            task,
            sealed.blob,
            *offered,
            kept=tuple(states.event for states, _ in kept),
            ranges=report.ranges,
            energy=report.energy,
        )
    except Exception:
        for states, _ in kept:
            states.discard_pending(task)
        raise
