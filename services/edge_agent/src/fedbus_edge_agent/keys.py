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


class TaskKey(WorkKey):
    """Base of the keys of a controller's tasks."""


class TrainingWork(TaskKey):
    """Training task."""

    kind: ClassVar[str] = "train"


class EvaluationWork(TaskKey):
    """Evaluation task."""

    kind: ClassVar[str] = "evaluate"


class FeatureWork(TaskKey):
    """Computation of the features of a MistNet job."""

    kind: ClassVar[str] = "features"


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
class TrainingTaskKey(Key):
    """Base of the keys of a training task's reply and update."""

    job: str
    task: int


class TaskAcknowledgement(TrainingTaskKey):
    """Timer: confirm to the controller that a task was accepted."""


class TaskReply(TrainingTaskKey):
    """Ask: an offer or a decline, repeated until the collector's receipt."""


class UpdateRemoval(TrainingTaskKey):
    """Run that removes an update from the disk, and settles what its task left pending."""


class UpdateRemovalRetry(TrainingTaskKey):
    """Timer: remove an update again after an error of the disk."""


class StepAnswer(TrainingTaskKey):
    """Run that answers a step of a masked task, and writes the task's journal."""


class JournalRemoval(TrainingTaskKey):
    """Run that removes the journal of a masked task."""


class IdentityWait(TrainingTaskKey):
    """Timer: a step is answered without identities that were not announced."""


@dataclass(frozen=True, slots=True)
class OwnStateRemoval(Key):
    """Run that removes what the objective of an ended job kept."""

    job: str


@dataclass(frozen=True, slots=True)
class FeatureRemoval(Key):
    """Run that removes the features that were sent for an ended job."""

    job: str


@dataclass(frozen=True, slots=True)
class ReportWrite(Key):
    """Run that writes the report of a standalone job to the disk."""

    job: str


class DataCheck(Key):
    """Timer: check whether the data have changed."""


class DataReload(Key):
    """Run that loads changed data."""


class StallCheck(Key):
    """Timer: check whether the training thread makes progress."""


class HungExit(Key):
    """Timer: exit the process, because its training thread hangs."""


class StateRefresh(Key):
    """Timer: publish the agent's state again if it has changed."""
