"""The tasks an agent has been given: what each waits for. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from fedbus.blobs.spool import Spool
from fedbus.wire.blobs import BlobRef, ModelRef
from fedbus.wire.messages import EvaluateTask, TrainTask
from fedbus_edge_agent.keys import EvaluationWork, TaskKey, TrainingWork
from fedbus_edge_agent.training.cancellation import TaskControl

Order: TypeAlias = TrainTask | EvaluateTask


def key_of(order: Order) -> TaskKey:
    """Name a task: training by its number, evaluation by the version."""
    if isinstance(order, TrainTask):
        return TrainingWork(order.job, order.task)
    return EvaluationWork(order.job, order.version.version)


@dataclass(slots=True)
class Task:
    """One order, from its arrival until its work is done; `form` is the format of the data here."""

    order: Order
    controller: str
    form: Mapping[str, Any]
    control: TaskControl = field(default_factory=TaskControl)
    fetching: dict[str, tuple[BlobRef, Spool]] = field(default_factory=dict)
    failures: int = 0
    pausing: bool = False
    gathered: bool = False
    fits: bool = False

    @property
    def key(self) -> TaskKey:
        """Its name."""
        return key_of(self.order)

    @property
    def ref(self) -> ModelRef:
        """The version to work on."""
        return self.order.base if isinstance(self.order, TrainTask) else self.order.version
