"""Messages of a round: tasks for agents, updates for the collector, the result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from fedbus.limits import MAX_COHORT_AGENTS
from fedbus.scalars import Bounds, Flag, Ident, Number, Raw, RoundNumber, Strict, Text, Whole
from fedbus.training.params import TrainingParams
from fedbus.wire.blobs import BlobRef, Compression, ModelRef
from fedbus.wire.encryption import EncryptionTerms, Ranges
from fedbus.wire.energy import EnergyUsed
from fedbus.wire.features import MAX_FEATURE_AGENTS, AgentFeatures, FeatureTerms
from fedbus.wire.identifiers import Metrics, NodeName, TaskNumber
from fedbus.wire.privacy import PrivacyTerms
from fedbus.wire.round_records import Plan, RoundRecord
from fedbus.wire.secure_aggregation import SecureAggregationTerms
from fedbus.wire.strategies import (
    MAX_STATE_NUMBERS,
    NO_FACTS,
    FactName,
    Names,
    StepLimit,
    Strategy,
    TrainingFacts,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainTask:
    """Train from this base version and offer the update to the collector.

    `members` agents download the base together, unless it is small and part of this message
    (`inline`); an update of at most `inline_up_to` bytes is part of the offer. `params` has the
    round and the seed. The strategy asks for `facts` in the offer, for `sections` in the update,
    and gives agents its `state` arrays of the base version, served where the base is; without
    `state` in a round they are zeros. With `privacy` the agent protects the update, for which
    `numbers` are those of the strategy's state, and offers no metrics and 1 as its examples. With
    `feature_terms` the agent trains the layers after the cut alone, on the `features` of others.
    With `encryption` or `masking` the update leaves the agent encrypted or masked, clipped to
    `ranges` and weighted by the examples, at most `max_examples`. With `compression` it is smaller,
    and has no differences of the `frozen` parameters.
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
    facts: tuple[FactName, ...] = ()
    sections: Names = ()
    state_names: Names = ()
    state: BlobRef | None = None
    privacy: PrivacyTerms | None = None
    numbers: Annotated[Mapping[Ident, Number], Bounds(max_length=MAX_STATE_NUMBERS)] = field(
        default_factory=dict
    )
    features: Annotated[tuple[AgentFeatures, ...], Bounds(max_length=MAX_FEATURE_AGENTS)] = ()
    feature_terms: FeatureTerms | None = None
    encryption: EncryptionTerms | None = None
    masking: SecureAggregationTerms | None = None
    ranges: Ranges = ()
    max_examples: Annotated[int, Strict(ge=1, lt=2**31)] = 1
    compression: Compression = ()
    frozen: BlobRef | None = None
    measures_energy: Flag = False

    @property
    def round(self) -> int:
        """Number of the round, 1 for the first."""
        return self.params.round


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTaken:
    """The agent has accepted the task; the controller stops repeating it."""

    job: Ident
    task: TaskNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateTask:
    """Evaluate this version on held-out data."""

    epoch: Whole
    job: Ident
    version: ModelRef
    params: TrainingParams
    trainer: Ident | None
    members: Whole
    measures_energy: Flag = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """The metrics of a version, or the `reason` why there are none."""

    job: Ident
    version: Whole
    examples: Whole
    metrics: Metrics
    reason: Text = ""
    energy: EnergyUsed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRound:
    """Collect an update from each agent of the plan's cohort, aggregate them, commit the round.

    An offer that claims more steps than `step_limit` allows is refused; None: any number counts.
    """

    epoch: Whole
    plan: Plan
    strategy: Strategy
    step_limit: StepLimit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundOpened:
    """This incarnation of the collector has opened the round; it may even have ended it."""

    job: Ident
    task: TaskNumber
    incarnation: Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Dismiss:
    """Do not wait for these agents of the cohort any longer."""

    epoch: Whole
    job: Ident
    task: TaskNumber
    agents: Annotated[tuple[NodeName, ...], Bounds(max_length=MAX_COHORT_AGENTS)]
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Dismissed:
    """These agents are dismissed, unless their updates are in the aggregate already."""

    job: Ident
    task: TaskNumber
    agents: Annotated[tuple[NodeName, ...], Bounds(max_length=MAX_COHORT_AGENTS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Offer of an agent's update for a task, to be fetched from the agent.

    The header of the blob must agree with the model's layout; `base` is the version that training
    started from. A small update is sent along as `inline`. `ranges` are the exponents that the
    update needed, for the ranges of the next round.
    """

    job: Ident
    round: RoundNumber
    task: TaskNumber
    base: Whole
    update: BlobRef
    examples: Annotated[int, Strict(ge=1, lt=2**53)]
    metrics: Metrics
    inline: Raw | None = None
    facts: TrainingFacts = NO_FACTS
    ranges: Ranges = ()
    energy: EnergyUsed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decline:
    """The sender will send no update for this task, for this reason."""

    job: Ident
    round: RoundNumber
    task: TaskNumber
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The fate of an offered update.

    `stored`: it is in a committed round. `drop`: it will never be in one. In both cases the agent
    deletes it. `unknown`: ask again later.
    """

    job: Ident
    task: TaskNumber
    verdict: Literal["stored", "drop", "unknown"]
    reason: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundEnded:
    """The round is committed as `version`, or failed (`version` is null) for this reason.

    The weights of a small version are part of the message (`inline`), for the next round's tasks.
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
    """The controller has recorded how the round ended."""

    job: Ident
    task: TaskNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class StopJob:
    """The job has ended: stop its training, delete its updates."""

    epoch: Whole
    job: Ident


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStopped:
    """The sender keeps nothing of the job any longer."""

    job: Ident
