"""The repository's truths: leases, jobs, plans, commits."""

from dataclasses import dataclass
from typing import Annotated, Literal

from fedbus.limits import MAX_FAULTS_SENT, MAX_JOB_FILE_BYTES
from fedbus.scalars import Bounds, Flag, Ident, Number, Raw, RoundNumber, Strict, Text, Whole
from fedbus.wire.documents import JobFault, ModelNeeds
from fedbus.wire.values import (
    BlobRef,
    Digest,
    Metrics,
    ModelRef,
    Moment,
    NodeName,
    Plan,
    RoundRecord,
    TaskNumber,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeLease:
    """Let me act as the controller; `incarnation` tells my restarts apart."""

    incarnation: Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseGranted:
    """Act for `seconds`; your messages carry `epoch`, and everyone refuses a lower one."""

    epoch: Whole
    seconds: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseHeld:
    """Another controller acts; ask again after `seconds`."""

    holder: NodeName
    seconds: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreJob:
    """Accept this job file (its raw bytes). The same id and an equal file are the same job.

    `origin` stands where the file has no id and its request no correlation data, so that `job` is
    only proposed: the SHA-256 of its sender's reply topic and the file, by which the repository
    finds the job that the request has become already. `redelivered`: the broker had delivered the
    request before.
    """

    epoch: Whole
    job: Ident
    model: Ident
    file: Annotated[bytes, Strict(max_length=MAX_JOB_FILE_BYTES)]
    origin: Digest | None = None
    redelivered: Flag = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRefused:
    """The job is not accepted, and why."""

    job: Ident
    faults: Annotated[tuple[JobFault, ...], Bounds(min_length=1, max_length=MAX_FAULTS_SENT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePlan:
    """Journal a round before anyone is asked."""

    epoch: Whole
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStored:
    """The journal holds that plan."""

    job: Ident
    task: TaskNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class ListJobs:
    """Which jobs are running, and which have ended of late?"""

    epoch: Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsListed:
    """The ids of all jobs that run, then of those that were begun last and have ended."""

    jobs: Annotated[tuple[Ident, ...], Bounds(max_length=10_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadJob:
    """Tell me all about a job, so that I can go on with it."""

    epoch: Whole
    job: Ident


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """What became of a submitted job, in the answer to `StoreJob`.

    `known`: the repository had the job before this file came, and it stands as `JobLoaded` says.
    `proposed` is the id that was asked for, where the job has another. `warnings` are for the user
    who submitted it.
    """

    known: Flag = False
    proposed: Ident | None = None
    warnings: Annotated[tuple[Text, ...], Bounds(max_length=16)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLoaded:
    """A job as the repository knows it: its file, its last plan, its last committed version.

    It answers `LoadJob`, and `StoreJob` with an `acceptance`. `secret` (32 bytes, made by the
    repository) seeds the controller's random choices. `needs` is what the model's spec requires of
    an agent, as far as that can be read.
    """

    job: Ident
    file: Raw
    secret: Raw
    phase: Literal["running", "finished", "failed", "cancelled"]
    reason: Text
    rounds: Whole
    latest: ModelRef
    metrics: Metrics
    plan: Plan | None
    needs: ModelNeeds | None = None
    submitted: Moment | None = None
    ended: Moment | None = None
    acceptance: Acceptance | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreScore:
    """The held-out score of a committed round's version."""

    epoch: Whole
    job: Ident
    round: RoundNumber
    metrics: Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreStored:
    """The score stands beside the version."""

    job: Ident
    round: RoundNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class EndJob:
    """The job has reached its last phase."""

    epoch: Whole
    job: Ident
    phase: Literal["finished", "failed", "cancelled"]
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnded:
    """The repository will commit no more rounds for this job; since when."""

    job: Ident
    phase: Literal["finished", "failed", "cancelled"]
    reason: Text
    at: Moment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetJob:
    """List this job no more; its file, its rounds and its versions stay, and so does its id."""

    epoch: Whole
    job: Ident


@dataclass(frozen=True, slots=True, kw_only=True)
class JobForgotten:
    """The job is listed no more. A refusal, where it runs or nobody knows it, says `reason`."""

    job: Ident
    rounds: Whole = 0
    reason: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleEpoch:
    """Your lease has passed to another; `epoch` is the one that holds."""

    epoch: Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Make this round true: fetch the aggregate from me, insert the record if nobody has."""

    record: RoundRecord
    weights: BlobRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """The round is true as this record and version, whether or not it was this commit's."""

    version: ModelRef
    record: RoundRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRefused:
    """The round cannot be committed, and why."""

    job: Ident
    round: RoundNumber
    task: TaskNumber
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class LookUp:
    """What became of this agent's update?"""

    job: Ident
    agent: NodeName
    task: TaskNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedUp:
    """`stored`: it counts. `drop`: it never will. `unknown`: its round may yet be."""

    job: Ident
    agent: NodeName
    task: TaskNumber
    verdict: Literal["stored", "drop", "unknown"]
