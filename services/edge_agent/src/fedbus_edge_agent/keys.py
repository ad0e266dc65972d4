"""Correlation keys of the agent's actions."""

from dataclasses import dataclass
from typing import ClassVar

from fedbus.core.keys import Key


@dataclass(frozen=True, slots=True)
class WorkKey(Key):
    """Base of the keys of what the training thread works on.

    Attributes:
        kind: Word for it in logs, counters and the agent's announced state.
        number: Task number of a training, version of an evaluation, round of a standalone job.
    """

    kind: ClassVar[str]
    job: str
    number: int

    def words(self) -> list[str | int]:
        """Return what logs show of it."""
        return [self.kind, self.job, self.number]


@dataclass(frozen=True, slots=True)
class TaskKey(WorkKey):
    """Base of the keys of tasks, which a controller ordered."""


@dataclass(frozen=True, slots=True)
class TrainingWork(TaskKey):
    """Training task."""

    kind: ClassVar[str] = "train"


@dataclass(frozen=True, slots=True)
class EvaluationWork(TaskKey):
    """Evaluation task."""

    kind: ClassVar[str] = "evaluate"


@dataclass(frozen=True, slots=True)
class StandaloneWork(WorkKey):
    """Round of a standalone job."""

    kind: ClassVar[str] = "alone"


@dataclass(frozen=True, slots=True)
class TaskInputFetch(Key):
    """Fetch of a blob that a task needs."""

    task: TaskKey
    digest: str


@dataclass(frozen=True, slots=True)
class TaskInputRetry(Key):
    """Timer: a task's inputs that did not come are to be fetched again."""

    task: TaskKey


@dataclass(frozen=True, slots=True)
class TaskAcknowledgement(Key):
    """Timer: the controller is to be told that a task was taken."""

    job: str
    task: int


@dataclass(frozen=True, slots=True)
class TaskReply(Key):
    """Request to the collector to settle an offer or a decline."""

    job: str
    task: int


@dataclass(frozen=True, slots=True)
class UpdateRemoval(Key):
    """Run that removes an update from the disk."""

    job: str
    task: int


@dataclass(frozen=True, slots=True)
class ReportWrite(Key):
    """Run that writes the report of a standalone job to the disk."""

    job: str


@dataclass(frozen=True, slots=True)
class DataCheck(Key):
    """Timer: look whether the data have changed."""


@dataclass(frozen=True, slots=True)
class DataReload(Key):
    """Run that loads changed data."""


@dataclass(frozen=True, slots=True)
class StallCheck(Key):
    """Timer: look whether the training thread still moves."""


@dataclass(frozen=True, slots=True)
class HungExit(Key):
    """Timer: the process is to exit, because its training thread hangs."""


@dataclass(frozen=True, slots=True)
class StateRefresh(Key):
    """Timer: the agent's announced state is to be published again if it has changed."""
