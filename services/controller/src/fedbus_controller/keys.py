"""Correlation keys of the controller's actions."""

from dataclasses import dataclass

from fedbus.core.keys import Key


@dataclass(frozen=True, slots=True)
class LeaseRequest(Key):
    """Request to the repository for the lease."""


@dataclass(frozen=True, slots=True)
class LeaseRenewal(Key):
    """Timer: the lease is to be asked for again."""


@dataclass(frozen=True, slots=True)
class JobListing(Key):
    """Request to the repository for the jobs that run."""


@dataclass(frozen=True, slots=True)
class JobKey(Key):
    """Base of the keys of a job."""

    job: str


@dataclass(frozen=True, slots=True)
class JobStorage(JobKey):
    """Request to the repository to store a submitted job."""


@dataclass(frozen=True, slots=True)
class JobLoading(JobKey):
    """Request to the repository for all it knows of a job."""


@dataclass(frozen=True, slots=True)
class JobEnding(JobKey):
    """Request to the repository to end a job."""


@dataclass(frozen=True, slots=True)
class JobRemoval(JobKey):
    """Request to the repository to list a job no more."""


@dataclass(frozen=True, slots=True)
class PlanStorage(JobKey):
    """Request to the repository to store a plan."""


@dataclass(frozen=True, slots=True)
class EvaluationStorage(JobKey):
    """Request to the repository to store the score of a round's version."""

    round: int


@dataclass(frozen=True, slots=True)
class RoundOpening(JobKey):
    """Request to the collector to open a round."""


@dataclass(frozen=True, slots=True)
class NodeKey(JobKey):
    """Base of the keys of what one node is asked for a job, or asked about it."""

    node: str


@dataclass(frozen=True, slots=True)
class TrainingRequest(NodeKey):
    """Request to an agent to train."""


@dataclass(frozen=True, slots=True)
class EvaluationRequest(NodeKey):
    """Request to an agent to evaluate."""


@dataclass(frozen=True, slots=True)
class DismissalRequest(NodeKey):
    """Request to the collector to wait no longer for an agent."""


@dataclass(frozen=True, slots=True)
class StopRequest(NodeKey):
    """Request to a node to stop what it does for a job that has ended."""


@dataclass(frozen=True, slots=True)
class StopDeadline(JobKey):
    """Timer: nodes that do not answer are not told any more that a job has ended."""


@dataclass(frozen=True, slots=True)
class JobTimer(JobKey):
    """Base of the timers of a job that runs."""


@dataclass(frozen=True, slots=True)
class PlanningRetry(JobTimer):
    """Timer: look again whether there are enough agents for a round."""


@dataclass(frozen=True, slots=True)
class PlanStorageDeadline(JobTimer):
    """Timer: the repository has not stored a plan; the job is to be loaded again."""


@dataclass(frozen=True, slots=True)
class LivenessCheck(JobTimer):
    """Timer: look which nodes of the round are lost."""


@dataclass(frozen=True, slots=True)
class EvaluationDeadline(JobTimer):
    """Timer: no more scores are waited for."""
