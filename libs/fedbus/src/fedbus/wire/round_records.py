"""Plans and records of rounds, as the repository stores them, and what of a record is public."""

from dataclasses import dataclass, replace
from typing import Annotated

from fedbus.limits import MAX_COHORT_AGENTS
from fedbus.scalars import Bounds, Ident, Number, RoundNumber, Strict, Text, Whole
from fedbus.wire.blobs import BlobRef, CompressedBlob, EncryptedVersion, ModelRef
from fedbus.wire.encryption import Ranges
from fedbus.wire.energy import EnergyUsed
from fedbus.wire.features import MAX_FEATURE_AGENTS, AgentFeatures
from fedbus.wire.identifiers import Digest, Metrics, NodeName, TaskNumber
from fedbus.wire.privacy import PrivacySpent, public_spent
from fedbus.wire.round_traffic import RoundTraffic
from fedbus.wire.strategies import NO_FACTS, Strategy, StrategyState, TrainingFacts, hides_agents


@dataclass(frozen=True, slots=True, kw_only=True)
class Contributor:
    """An update in a round's aggregate: its agent, task, number of examples and digest.

    `coefficient` is the factor of the update's differences in the combined update; None if the
    aggregator combines updates number by number, as a median does.
    """

    agent: NodeName
    task: Whole
    examples: Whole
    update: Digest
    metrics: Metrics
    facts: TrainingFacts = NO_FACTS
    coefficient: Number | None = None
    energy: EnergyUsed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An agent of the cohort whose update is not in the aggregate, with the reason."""

    agent: NodeName
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The controller's decision about a round; stored before any agent is asked.

    `task` rises with every plan of a job, so (job, agent, task) names at most one update. `state`
    is what the strategy keeps with the base version; None before its first round. A round of
    Poisson sampling may ask no agent, and needs no update. `noise_key` is the digest of the key
    that the collectors draw noise with, the same in all plans of a job; None if they draw none.
    In a MistNet job a plan without `features` asks its cohort for features, and opens no round; one
    with them has a cohort of one agent, which trains on them. If updates are fixed-point numbers,
    `ranges` are what they are clipped to, and an agent with more than `max_examples` counts as if
    it had this number.
    """

    job: Ident
    round: RoundNumber
    task: TaskNumber
    base: ModelRef
    collector: NodeName
    cohort: Annotated[tuple[NodeName, ...], Bounds(max_length=MAX_COHORT_AGENTS)]
    quorum: Annotated[int, Strict(ge=0, le=MAX_COHORT_AGENTS)]
    deadline_seconds: Annotated[float, Strict(gt=0, le=86_400)]
    state: StrategyState | None = None
    noise_key: Digest | None = None
    features: Annotated[tuple[AgentFeatures, ...], Bounds(max_length=MAX_FEATURE_AGENTS)] = ()
    ranges: Ranges = ()
    max_examples: Annotated[int, Strict(ge=1, lt=2**31)] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRecord:
    """A committed round: stored in one document with the version that it made.

    `base_coefficient` is the factor of the base: the model before the server optimizer is the base
    times it, plus each update times its coefficient. `state` is what the strategy keeps for the
    next round; its arrays are stored with the version's weights. `encryption` says how the version
    is encrypted, `thin` names its smaller blob, and `energy` is what all contributors used.
    `traffic` is None in records of older versions of fedbus.
    `privacy` is what the job had spent with this round, as the repository's ledger has it; None
    without a privacy mechanism. A round of Poisson sampling may have no contributor.
    """

    job: Ident
    round: RoundNumber
    task: TaskNumber
    model: Ident
    parent: Whole
    spec: BlobRef
    strategy: Strategy
    contributors: Annotated[tuple[Contributor, ...], Bounds(max_length=MAX_COHORT_AGENTS)]
    refusals: Annotated[tuple[Refusal, ...], Bounds(max_length=MAX_COHORT_AGENTS)]
    metrics: Metrics
    seconds: Metrics
    base_coefficient: Number = 1.0
    state: StrategyState | None = None
    privacy: PrivacySpent | None = None
    encryption: EncryptedVersion | None = None
    thin: CompressedBlob | None = None
    energy: EnergyUsed | None = None
    traffic: RoundTraffic | None = None


def public_record(record: RoundRecord) -> RoundRecord:
    """Return what users may read of a record: all of it, unless its job hides its agents.

    ε covers neither who took part nor figures of trainings, so then no agent is named, and metrics
    and coefficients are left out. With Poisson sampling nothing tells how large the cohort was.
    """
    if not hides_agents(record.strategy) and record.privacy is None:
        return record
    secret = any(
        each is not None and each.poisson for each in (record.privacy, record.strategy.privacy)
    )
    return replace(
        record,
        contributors=(),
        refusals=(),
        metrics={},
        energy=None,
        traffic=None,
        base_coefficient=1.0,
        seconds={} if secret else record.seconds,
        privacy=public_spent(record.privacy),
    )
