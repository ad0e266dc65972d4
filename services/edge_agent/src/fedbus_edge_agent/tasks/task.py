"""State of one task, from its message until its result. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from fedbus.blobs.spool import Spool
from fedbus.wire.blobs import BlobRef, ModelRef
from fedbus.wire.messages import EvaluateTask, FeatureTask, TrainTask
from fedbus_edge_agent.keys import EvaluationWork, FeatureWork, TaskKey, TrainingWork
from fedbus_edge_agent.masking.unmasked_update import UnmaskedUpdate
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.private_task import hides_agent

TaskMessage: TypeAlias = TrainTask | EvaluateTask | FeatureTask


def key_of(message: TaskMessage) -> TaskKey:
    """Return the key of a task: job and task number, or the version of an evaluation."""
    if isinstance(message, TrainTask):
        return TrainingWork(message.job, message.task)
    if isinstance(message, FeatureTask):
        return FeatureWork(message.job, message.task)
    return EvaluationWork(message.job, message.version.version)


@dataclass(slots=True)
class Task:
    """One task.

    Attributes:
        data_format: Format of the rows that the trainer would get when the task was accepted.
        downloads: Inputs that are being fetched, by digest.
        failures: Number of downloads that failed.
        paused: Whether the task waits before it fetches again.
        inputs_complete: Whether all inputs were here at least once.
        input_checked: Whether the model's input format was compared with the data.
        unmasked: What a masked task's training has left, until it is masked.
    """

    message: TaskMessage
    controller: str
    data_format: Mapping[str, Any]
    control: TaskControl = field(default_factory=TaskControl)
    downloads: dict[str, tuple[BlobRef, Spool]] = field(default_factory=dict)
    failures: int = 0
    paused: bool = False
    inputs_complete: bool = False
    input_checked: bool = False
    unmasked: UnmaskedUpdate | None = None

    def __post_init__(self) -> None:
        self.control.private = self.private

    @property
    def key(self) -> TaskKey:
        """Key of the task's messages, timers and runs."""
        return key_of(self.message)

    @property
    def private(self) -> bool:
        """Whether no node may see that this agent takes part: a task of a private job."""
        message = self.message
        if isinstance(message, TrainTask):
            return hides_agent(message)
        return isinstance(message, FeatureTask)

    @property
    def ref(self) -> ModelRef:
        """The version to train from, to evaluate, or to compute features with."""
        message = self.message
        if isinstance(message, TrainTask):
            return message.base
        # What is measured or computed with a version is about its own weights.
        return (message.version if isinstance(message, EvaluateTask) else message.base).whole
