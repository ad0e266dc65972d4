"""Messages that store, list, load and end jobs, and store plans and evaluations."""

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from fedbus.limits import MAX_COHORT_AGENTS, MAX_FAULTS_SENT, MAX_JOB_FILE_BYTES
from fedbus.scalars import Bounds, Flag, Ident, Raw, RoundNumber, Strict, Text, Whole
from fedbus.wire.blobs import ModelRef
from fedbus.wire.documents import EndPhase, JobFault, ModelNeeds
from fedbus.wire.energy import EnergyUsed
from fedbus.wire.identifiers import Digest, Metrics, TaskNumber, Timestamp
from fedbus.wire.privacy import Participation, PrivacySpent
from fedbus.wire.round_records import Plan
from fedbus.wire.strategies import Strategy, StrategyState

PlanRefusalKind: TypeAlias = Literal["cohort", "key", "budget", "ledger-full"]
"""What of a plan breaks its job's privacy terms: the controller decides by it what comes next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreJob:
    """Store this job file, byte for byte. The same id with an equal file is the same job.

    `origin` is set if the file has no id and its request no correlation data, so that `job` is only
    a proposal: it is the SHA-256 of the sender's reply topic and the file, by which the repository
    finds the job that an earlier copy of the request has become. `redelivered`: the broker had
    delivered the request before.

    `strategy` is the file's strategy, resolved. With `continue_state` the job begins with what the
    strategy keeps with the model's latest version: the repository refuses a new job, by a fault of
    the key `strategy.continue_state`, if no round of an equal `strategy` made that version, or if
    nothing is kept with it.
    """

    epoch: Whole
    job: Ident
    model: Ident
    file: Annotated[bytes, Strict(max_length=MAX_JOB_FILE_BYTES)]
    origin: Digest | None = None
    redelivered: Flag = False
    strategy: Strategy | None = None
    continue_state: Flag = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFileRefused:
    """The job is not accepted, for these faults."""

    job: Ident
    faults: Annotated[tuple[JobFault, ...], Bounds(min_length=1, max_length=MAX_FAULTS_SENT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePlan:
    """Store the plan of a round, before any agent is asked."""

    epoch: Whole
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStored:
    """The plan with this task number is stored."""

    job: Ident
    task: TaskNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRefused:
    """The plan breaks the job's privacy terms, for this reason.

    `kind`: with "cohort" and "key" another plan may be possible. With "budget" the plan would
    exceed the job's ε: the job is done, unless agents are left that have taken part less often.
    With "ledger-full" the job is done. `participations` has what the ledger says about agents, as
    many as have room, those of the refused cohort first.
    """

    job: Ident
    task: TaskNumber
    kind: PlanRefusalKind
    reason: Text
    participations: Annotated[tuple[Participation, ...], Bounds(max_length=MAX_COHORT_AGENTS)] = ()
    entries: Whole = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ListJobs:
    """Return the running jobs and those that ended recently."""

    epoch: Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsListed:
    """The ids of all running jobs, then of the most recently started jobs that have ended."""

    jobs: Annotated[tuple[Ident, ...], Bounds(max_length=10_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadJob:
    """Return all that a controller needs to continue a job."""

    epoch: Whole
    job: Ident


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """The result of `StoreJob`, in its reply.

    `known`: the repository had the job before this file arrived; `JobLoaded` has its state.
    `proposed` is the id that was asked for, if the job has another. `warnings` are for the user
    who submitted it.
    """

    known: Flag = False
    proposed: Ident | None = None
    warnings: Annotated[tuple[Text, ...], Bounds(max_length=16)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLoaded:
    """A job as the repository stores it: its file, its last plan, its last committed version.

    The reply to `LoadJob`, and to `StoreJob`, then with an `acceptance`. `secret` (32 bytes, drawn
    by the repository) seeds the controller's random choices. `needs` is what the model's spec
    requires of an agent, as far as the spec can be read. `state` is what the job's strategy
    keeps with the latest version; None if it keeps nothing, or the version is not of this job and
    the job does not continue its state. `strategy` is that of the job's last committed round, which
    its next rounds use; before the first it is the stored one of a job that encrypts or masks
    updates, and else None. `privacy` is what the job has spent, and `participations` what its
    ledger says about each agent, only with a privacy mechanism. `shared_tensors` is the number of
    tensors of an update: those of the model that are not local; 0 if the spec cannot be read.
    `energy` is what its rounds and their evaluations have used. `forgotten`: it is no longer
    listed, so that no document of it is published.
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
    submitted: Timestamp | None = None
    ended: Timestamp | None = None
    acceptance: Acceptance | None = None
    state: StrategyState | None = None
    strategy: Strategy | None = None
    privacy: PrivacySpent | None = None
    participations: Annotated[tuple[Participation, ...], Bounds(max_length=MAX_COHORT_AGENTS)] = ()
    shared_tensors: Whole = 0
    energy: EnergyUsed | None = None
    forgotten: Flag = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreEvaluation:
    """Store the metrics of a committed round's version on held-out data.

    `energy` is what the evaluators have used.
    """

    epoch: Whole
    job: Ident
    round: RoundNumber
    metrics: Metrics
    energy: EnergyUsed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationStored:
    """The metrics are stored with the version."""

    job: Ident
    round: RoundNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class EndJob:
    """End the job in this phase."""

    epoch: Whole
    job: Ident
    phase: EndPhase
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnded:
    """The job ended `at` this time; the repository commits no more rounds for it."""

    job: Ident
    phase: EndPhase
    reason: Text
    at: Timestamp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetJob:
    """Remove this job from the list; its file, its rounds, its versions and its id are kept."""

    epoch: Whole
    job: Ident


@dataclass(frozen=True, slots=True, kw_only=True)
class JobForgotten:
    """The job is not listed any more; or it runs or does not exist, as the `reason` says."""

    job: Ident
    rounds: Whole = 0
    reason: Text = ""
