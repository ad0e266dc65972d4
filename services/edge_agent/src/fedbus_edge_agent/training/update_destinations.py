"""Destinations of a trained update: the agent's outbox, or the memory where it waits for masks."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeAlias, TypeVar

from fedbus.encryption.key_files import SecretKey
from fedbus.energy.energy_meter import MeasuredWork
from fedbus.model.layout import Layout
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.masking.unmasked_update import UnmaskedUpdate, unmasked_update
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.encrypted_update import TrainedFrom
from fedbus_edge_agent.training.finished_training import store_finished
from fedbus_edge_agent.training.measured_tasks import transferred_bytes
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.private_offer import TrainingReport
from fedbus_edge_agent.training.sealed_update import sealed_update
from fedbus_edge_agent.training.task_runner import TrainingResult
from fedbus_edge_agent.training.task_strategy import FinishedUpdate

T = TypeVar("T")
UpdateDestination: TypeAlias = Callable[
    [bytearray, TrainedFrom, TrainingReport, FinishedUpdate], Callable[[], T]
]
"""Seals an update, and returns the call that stores it, or has it wait for its masks.

Raises:
    FedbusError: The update cannot be sealed as its task says; the call raises it, too, if the disk
        is full.
"""


def outbox_for(  # noqa: PLR0913, PLR0917 - what sealing and storing need
    task: TrainTask,
    layout: Layout,
    outbox: Outbox,
    key: SecretKey | None,
    control: TaskControl,
    work: MeasuredWork | None,
) -> UpdateDestination[TrainingResult]:
    """Return what seals a task's update, and then stores it; `work` has measured its energy."""

    def seal(
        blob: bytearray, trained: TrainedFrom, report: TrainingReport, finished: FinishedUpdate
    ) -> Callable[[], TrainingResult]:
        sealed = sealed_update(task, layout, blob, trained, key, control)
        energy = None if work is None else work.used(transferred_bytes(task, len(sealed.blob)))
        stated = replace(report, ranges=sealed.ranges, energy=energy)
        return partial(store_finished, outbox, task, layout, sealed, stated, finished.own)

    return seal


def memory_for_masks(task: TrainTask, layout: Layout) -> UpdateDestination[UnmaskedUpdate]:
    """Return what rounds the update of a masked task, and keeps it in memory only."""

    def keep(
        blob: bytearray, trained: TrainedFrom, report: TrainingReport, finished: FinishedUpdate
    ) -> Callable[[], UnmaskedUpdate]:
        bound, own = trained.bound, finished.own
        left = unmasked_update(task, layout, blob, report, bound=bound, own=own)
        return lambda: left

    return keep
