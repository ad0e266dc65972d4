"""Correlation keys of the controller's actions."""

from dataclasses import dataclass

from fedbus.core.keys import Key


@dataclass(frozen=True, slots=True)
class LeaseRequest(Key):
    """Request to the repository for the lease."""


@dataclass(frozen=True, slots=True)
class LeaseRenewal(Key):
    """Timer: ask for the lease again."""


@dataclass(frozen=True, slots=True)
class JobListing(Key):
    """Request to the repository for the running jobs."""


@dataclass(frozen=True, slots=True)
class JobKey(Key):
    """Base of the keys of one job."""

    job: str


@dataclass(frozen=True, slots=True)
class JobStorage(JobKey):
    """Request to the repository to store a submitted job."""


@dataclass(frozen=True, slots=True)
class JobLoading(JobKey):
    """Request to the repository for the stored state of a job."""


@dataclass(frozen=True, slots=True)
class JobEnding(JobKey):
    """Request to the repository to end a job."""


@dataclass(frozen=True, slots=True)
class JobRemoval(JobKey):
    """Request to the repository to remove a job from its lists."""


@dataclass(frozen=True, slots=True)
class PlanStorage(JobKey):
    """Request to the repository to store a plan."""


@dataclass(frozen=True, slots=True)
class EvaluationStorage(JobKey):
    """Request to the repository to store the evaluation of a round's version."""

    round: int


@dataclass(frozen=True, slots=True)
class RoundOpening(JobKey):
    """Request to the collector to open a round."""


@dataclass(frozen=True, slots=True)
class NodeKey(JobKey):
    """Base of the keys of requests to or about one node, for one job."""

    node: str


@dataclass(frozen=True, slots=True)
class TrainingRequest(NodeKey):
    """Request to an agent to train."""


@dataclass(frozen=True, slots=True)
class EvaluationRequest(NodeKey):
    """Request to an agent to evaluate."""


@dataclass(frozen=True, slots=True)
class DismissalRequest(NodeKey):
    """Request to the collector to dismiss an agent."""


@dataclass(frozen=True, slots=True)
class StopRequest(NodeKey):
    """Request to a node to stop its work for a job that has ended."""


@dataclass(frozen=True, slots=True)
class StopDeadline(JobKey):
    """Timer: cancel the stop requests that were not answered."""


@dataclass(frozen=True, slots=True)
class JobTimer(JobKey):
    """Base of the timers of a running job."""


@dataclass(frozen=True, slots=True)
class PlanningRetry(JobTimer):
    """Timer: try again to plan a round."""


@dataclass(frozen=True, slots=True)
class PlanStorageDeadline(JobTimer):
    """Timer: the repository has not stored a plan; load the job again."""


@dataclass(frozen=True, slots=True)
class LivenessCheck(JobTimer):
    """Timer: check which nodes of the round are lost."""


@dataclass(frozen=True, slots=True)
class EvaluationDeadline(JobTimer):
    """Timer: the deadline of an evaluation."""
