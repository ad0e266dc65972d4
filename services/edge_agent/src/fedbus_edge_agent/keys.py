"""Correlation keys of the agent's actions."""

from dataclasses import dataclass
from typing import ClassVar

from fedbus.core.keys import Key


@dataclass(frozen=True, slots=True)
class WorkKey(Key):
    """Base of the keys of what the training thread runs.

    Attributes:
        kind: Its name in logs, counters and the agent's published state.
        number: Task number of a training, version of an evaluation, round of a standalone job.
    """

    kind: ClassVar[str]
    job: str
    number: int

    def parts(self) -> list[str | int]:
        """Return kind, job and number, as logs show them."""
        return [self.kind, self.job, self.number]


@dataclass(frozen=True, slots=True)
class TaskKey(WorkKey):
    """Base of the keys of a controller's tasks."""


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

    kind: ClassVar[str] = "standalone"


@dataclass(frozen=True, slots=True)
class TaskInputFetch(Key):
    """Fetch of a blob that a task needs."""

    task: TaskKey
    digest: str


@dataclass(frozen=True, slots=True)
class TaskInputRetry(Key):
    """Timer: fetch a task's inputs again after a failed download."""

    task: TaskKey


@dataclass(frozen=True, slots=True)
class TaskAcknowledgement(Key):
    """Timer: confirm to the controller that a task was accepted."""

    job: str
    task: int


@dataclass(frozen=True, slots=True)
class TaskReply(Key):
    """Ask: an offer or a decline, repeated until the collector's receipt."""

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
    """Timer: check whether the data have changed."""


@dataclass(frozen=True, slots=True)
class DataReload(Key):
    """Run that loads changed data."""


@dataclass(frozen=True, slots=True)
class StallCheck(Key):
    """Timer: check whether the training thread makes progress."""


@dataclass(frozen=True, slots=True)
class HungExit(Key):
    """Timer: exit the process, because its training thread hangs."""


@dataclass(frozen=True, slots=True)
class StateRefresh(Key):
    """Timer: publish the agent's state again if it has changed."""
