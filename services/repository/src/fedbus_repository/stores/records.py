"""Records that a store keeps, and its refusals. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from fedbus.errors import RequestRefusalKind
from fedbus.wire.blobs import BlobRef, CompressedBlob, EncryptedVersion
from fedbus.wire.documents import EndPhase
from fedbus.wire.energy import EnergyUsed
from fedbus.wire.identifiers import Metrics, Timestamp
from fedbus.wire.messages.model_requests import Derivation, RetentionReason
from fedbus.wire.privacy import PrivacySpent, PrivacyTerms
from fedbus.wire.round_records import Plan, RoundRecord
from fedbus.wire.strategies import Strategy, StrategyState

Verdict: TypeAlias = Literal["stored", "drop", "unknown"]
"""What became of an update; `drop`: its agent may delete it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The acting controller; the epoch rises with each new holder or incarnation."""

    holder: str
    incarnation: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of a model, without its round's record; a pushed version has no job.

    Attributes:
        metrics: Those of its round, and held-out ones; only those if its job is private.
        evaluated: Its metrics include held-out metrics.
        pinned: Retention never deletes its weights.
        kept: Its weights, and its other blobs, are not deleted yet.
        strategy: The strategy of its round.
        state: What the strategy keeps with it for the next round.
        privacy: What its job had spent with its round; None without a privacy mechanism.
        encryption: How its weights are encrypted; None: they are plain.
        thin: The smaller blob that agents may train from; None: there is none.
        energy: What its round and its evaluation have used; None: it was not measured.
        derived: Of a pushed version that a key holder made from another one: from which, and how.
        at: When it was stored; ignored when versions are compared.
    """

    model: str
    version: int
    parent: int | None
    weights: BlobRef
    spec: BlobRef
    job: str | None = None
    round: int = 0
    contributors: int = 0
    metrics: Metrics = field(default_factory=dict)
    evaluated: bool = False
    pinned: bool = False
    kept: bool = True
    strategy: Strategy | None = None
    state: StrategyState | None = None
    privacy: PrivacySpent | None = None
    encryption: EncryptedVersion | None = None
    thin: CompressedBlob | None = None
    derived: Derivation | None = None
    energy: EnergyUsed | None = None
    at: Timestamp | None = field(default=None, compare=False)

    @property
    def base(self) -> int | None:
        """The version that it was made from; None if its weights were pushed."""
        if self.derived is not None:
            return self.derived.version
        return None if self.job is None else self.parent

    @property
    def blobs(self) -> tuple[BlobRef, ...]:
        """Its own blobs, the weights first: deleted when the version is outdated."""
        return blobs_of(self.weights, self)

    @property
    def state_blobs(self) -> tuple[BlobRef, ...]:
        """The blobs of the state: its arrays, and the bits of its frozen parameters."""
        return blobs_of_state(self.state)


def blobs_of(weights: BlobRef, made: Version | RoundRecord) -> tuple[BlobRef, ...]:
    """Return the blobs that a round makes: the weights, the thin ones and those of the state."""
    thin = () if made.thin is None else (made.thin.blob,)
    return (weights, *thin, *blobs_of_state(made.state))


def blobs_of_state(state: StrategyState | None) -> tuple[BlobRef, ...]:
    """Return the blobs of a strategy's state."""
    found = () if state is None else (state.arrays, state.frozen)
    return tuple(blob for blob in found if blob is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """A version and the record of the round that made it; None for a pushed version."""

    version: Version
    record: RoundRecord | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnd:
    """The first stored end of a job; later ends change nothing."""

    job: str
    phase: EndPhase
    reason: str
    at: Timestamp | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJob:
    """A job, its last plan and its progress.

    Attributes:
        latest: The version of its last committed round; before the first round its base.
        rounds: The number of its last committed round.
        continues_state: Its first round continues the state that its base was stored with.
        forgotten: It is no longer listed.
        strategy: Its strategy as it was submitted; None if that was not stored.
        noise_key: Digest of the key in its first plan that has one.
    """

    job: str
    model: str
    file: bytes
    secret: bytes
    ended: JobEnd | None
    base: Version
    latest: Version
    rounds: int
    plan: Plan | None
    submitted: Timestamp | None = field(default=None, compare=False)
    continues_state: bool = False
    forgotten: bool = False
    strategy: Strategy | None = None
    noise_key: str | None = None

    @property
    def private(self) -> Strategy | None:
        """Its strategy, if it has a privacy mechanism."""
        strategy = self.strategy
        return None if strategy is None or strategy.privacy is None else strategy

    @property
    def protecting(self) -> Strategy | None:
        """Its strategy, if it encrypts or masks updates: a controller may have a new key later."""
        strategy = self.strategy
        return None if strategy is None or strategy.fixed_point is None else strategy

    @property
    def terms(self) -> PrivacyTerms | None:
        """What it promises; None without a privacy mechanism."""
        return None if self.private is None else self.private.privacy

    @property
    def state(self) -> StrategyState | None:
        """What the strategy keeps with `latest`; None before the first round of a new state."""
        return self.state_with(self.latest)

    def state_with(self, version: Version) -> StrategyState | None:
        """Return the state that a round of this job continues if it starts from a version."""
        return version.state if version.job == self.job or self.continues_state else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredConfiguration:
    """What job files of a model mean, without the job's id; never changed, never deleted.

    Attributes:
        number: Counts the configurations of the store, from 1.
        file: The configuration: a job file without an id, as `configuration_of` writes it.
    """

    configuration: str
    model: str
    number: int
    file: bytes
    at: Timestamp | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationEntry:
    """A configuration, and whether it was stored before."""

    stored: StoredConfiguration
    known: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """What the result of a job is made of.

    Attributes:
        configuration: The id of its file's configuration; None if the file cannot be read.
        last: The version of its last committed round; None before the first.
        spent: What its ledger adds up to; None before its first entry, and without a mechanism.
        energy: What its rounds and their evaluations have used.
    """

    job: StoredJob
    configuration: str | None
    last: Version | None
    spent: PrivacySpent | None = None
    energy: EnergyUsed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelView:
    """A version of a model and a part of the model's history, newest first.

    Attributes:
        versions: Number of versions in the whole history.
        kept: The versions that still have their weights, newest first, with the reason.
        best: The version whose weights are kept for its metric.
        aliases: The version that each alias of the model names.
        tags: The version that each tag of the model names.
    """

    version: Version
    history: tuple[Version, ...]
    versions: int
    kept: tuple[tuple[int, RetentionReason], ...]
    best: int | None
    aliases: Mapping[str, int] = field(default_factory=dict)
    tags: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Identity of a submission without a job id.

    Attributes:
        digest: Digest of the sender and the job file.
        redelivered: The broker had delivered the request before.
        seconds: How long after a job was stored the same origin means that job.
    """

    digest: str
    redelivered: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class StoreRefusal:
    """A request that was not carried out, and why; `key` is the faulty key of the job file."""

    reason: str
    key: str = ""
    kind: RequestRefusalKind = field(default="conflict", compare=False)


@dataclass(frozen=True, slots=True)
class StaleLease:
    """The sender has lost the lease; `epoch` is the current one."""

    epoch: int


JobAnswer: TypeAlias = StoredJob | StoreRefusal | StaleLease
