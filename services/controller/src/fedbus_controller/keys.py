"""Correlation keys of the controller's actions."""

from dataclasses import dataclass

from fedbus.core.keys import Key


class LeaseRequest(Key):
    """Request to the repository for the lease."""


class LeaseRenewal(Key):
    """Timer: ask for the lease again."""


class JobListing(Key):
    """Request to the repository for the running jobs."""


@dataclass(frozen=True, slots=True)
class JobKey(Key):
    """Base of the keys of one job."""

    job: str


class JobStorage(JobKey):
    """Request to the repository to store a submitted job."""


class JobLoading(JobKey):
    """Request to the repository for the stored state of a job."""


class LedgerLoading(JobKey):
    """Request to the repository for what a private job has spent, while the job runs."""


class JobEnding(JobKey):
    """Request to the repository to end a job."""


class JobRemoval(JobKey):
    """Request to the repository to remove a job from its lists."""


class PlanStorage(JobKey):
    """Request to the repository to store a plan."""


@dataclass(frozen=True, slots=True)
class EvaluationStorage(JobKey):
    """Request to the repository to store the evaluation of a round's version."""

    round: int


class RoundOpening(JobKey):
    """Request to the collector to open a round."""


@dataclass(frozen=True, slots=True)
class NodeKey(JobKey):
    """Base of the keys of requests to or about one node, for one job."""

    node: str


class TrainingRequest(NodeKey):
    """Request to an agent to train."""


class FeatureRequest(NodeKey):
    """Request to an agent for its features."""


class EvaluationRequest(NodeKey):
    """Request to an agent to evaluate."""


class DismissalRequest(NodeKey):
    """Request to the collector to dismiss an agent."""


class StopRequest(NodeKey):
    """Request to a node to stop its work for a job that has ended."""


class StopDeadline(JobKey):
    """Timer: cancel the stop requests that were not answered."""


class JobTimer(JobKey):
    """Base of the timers of a running job."""


class PlanningRetry(JobTimer):
    """Timer: try again to plan a round."""


class PlanStorageDeadline(JobTimer):
    """Timer: the repository has not stored a plan; load the job again."""


class LivenessCheck(JobTimer):
    """Timer: check which nodes of the round are lost."""


class EvaluationDeadline(JobTimer):
    """Timer: the deadline of an evaluation."""


@dataclass(frozen=True, slots=True)
class RepositoryQuestion(Key):
    """Question of an HTTP client to the repository: `subject` tells it from others of its kind."""

    kind: str
    subject: tuple[str | int | None, ...]
