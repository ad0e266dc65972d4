"""A round: tasks to agents, updates to the collector, and how it ended."""

from dataclasses import dataclass
from typing import Annotated, Literal

from fedbus.limits import MAX_COHORT_AGENTS
from fedbus.scalars import Bounds, Flag, Ident, Raw, RoundNumber, Strict, Text, Whole
from fedbus.training.params import TrainingParams
from fedbus.wire.blobs import BlobRef, ModelRef
from fedbus.wire.identifiers import Metrics, NodeName, TaskNumber
from fedbus.wire.round_records import Plan, RoundRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainTask:
    """Train from this base and offer the update to that collector.

    `members` agents fetch the base together, unless it is small and rides along as `inline`; an
    update of at most `inline_up_to` bytes rides in the offer. The round and the seed are those of
    `params`.
    """

    epoch: Whole
    job: Ident
    task: TaskNumber
    base: ModelRef
    collector: NodeName
    params: TrainingParams
    trainer: Ident | None
    members: Whole
    inline_up_to: Whole
    inline: Raw | None = None

    @property
    def round(self) -> int:
        """Number of the round, 1 for the first."""
        return self.params.round


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTaken:
    """The task is mine: no need to repeat it."""

    job: Ident
    task: TaskNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateTask:
    """Score this version on your held-out data."""

    epoch: Whole
    job: Ident
    version: ModelRef
    params: TrainingParams
    trainer: Ident | None
    members: Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """The score of a version, or the reason there is none."""

    job: Ident
    version: Whole
    examples: Whole
    metrics: Metrics
    reason: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRound:
    """Collect one update from each of the plan's cohort, aggregate, commit."""

    epoch: Whole
    plan: Plan
    aggregator: Ident
    weighted: Flag


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundOpened:
    """This incarnation of the collector holds the round open, or has ended it and will say so."""

    job: Ident
    task: TaskNumber
    incarnation: Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Dismiss:
    """Wait no longer for these agents of the cohort."""

    epoch: Whole
    job: Ident
    task: TaskNumber
    agents: Annotated[tuple[NodeName, ...], Bounds(max_length=MAX_COHORT_AGENTS)]
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Dismissed:
    """Those agents are off the cohort, unless their update had already counted."""

    job: Ident
    task: TaskNumber
    agents: Annotated[tuple[NodeName, ...], Bounds(max_length=MAX_COHORT_AGENTS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Offer of an agent's update for a task, to be fetched from the agent.

    The header of the blob must agree with the model's layout; `base` is the version that training
    started from. A small update is sent along as `inline`.
    """

    job: Ident
    round: RoundNumber
    task: TaskNumber
    base: Whole
    update: BlobRef
    examples: Annotated[int, Strict(ge=1, lt=2**53)]
    metrics: Metrics
    inline: Raw | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decline:
    """I shall send no update for this task, and why."""

    job: Ident
    round: RoundNumber
    task: TaskNumber
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of an offer.

    `stored`: it counts in a committed round. `drop`: it never will. Both mean: forget it.
    `unknown`: ask again later.
    """

    job: Ident
    task: TaskNumber
    verdict: Literal["stored", "drop", "unknown"]
    reason: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundEnded:
    """The round is committed as `version`, or failed (`version` is null) for a reason.

    The weights of a small version ride along as `inline`, for the next round's tasks.
    """

    job: Ident
    round: RoundNumber
    task: TaskNumber
    version: ModelRef | None
    reason: Text
    record: RoundRecord | None
    inline: Raw | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundEndNoted:
    """I know how that round ended."""

    job: Ident
    task: TaskNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class StopJob:
    """The job is over: stop its training, drop its updates."""

    epoch: Whole
    job: Ident


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStopped:
    """Nothing of that job is left here."""

    job: Ident
