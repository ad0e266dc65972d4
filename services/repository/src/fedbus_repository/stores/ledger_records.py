"""Records of a job's ledger that a store keeps or decides by, and its answers about them. Pure."""

from dataclasses import dataclass
from typing import TypeAlias

from fedbus.privacy.ledger import Composition
from fedbus.wire.identifiers import Timestamp
from fedbus.wire.messages.job_storage import PlanRefusalKind
from fedbus.wire.privacy import (
    JobPrivacy,
    LedgerEntry,
    NoiseStep,
    Participation,
    PrivacySpent,
    PrivacyTerms,
)
from fedbus.wire.round_records import Plan
from fedbus.wire.strategies import Strategy
from fedbus_repository.stores.records import JobEnd, StaleLease, StoreRefusal

Spent: TypeAlias = tuple[float | None, float]
"""ε, None if it is unknown, and δ of a job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedEntry:
    """A ledger entry that the rules allow, before its ε is computed.

    Attributes:
        before: What the job's ledger is composed of before it.
        after: What it is composed of with it.
        earlier: What each other job has spent on the model.
    """

    terms: PrivacyTerms
    before: Composition
    after: Composition
    earlier: tuple[Spent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFacts:
    """A stored ledger entry, and what its job had spent with it."""

    entry: LedgerEntry
    spent: PrivacySpent


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOnModel:
    """A job on a model, and how many versions it has made of it.

    Attributes:
        strategy: Its strategy as it was submitted; None if that was not stored.
        first_version: The version of its first committed round; None before it.
        last_version: That of its last one.
    """

    job: str
    running: bool
    submitted: Timestamp
    strategy: Strategy | None
    rounds: int
    first_version: int | None
    last_version: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedNoise:
    """An entry is in the ledger: what its job had spent with it, and the steps of all entries.

    `steps` is empty unless the job's mechanism needs earlier noise.
    """

    spent: PrivacySpent
    steps: tuple[NoiseStep, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLedger:
    """What a job has spent, None before its first entry, and who took part in it."""

    spent: PrivacySpent | None = None
    entries: int = 0
    participations: tuple[Participation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRefusal:
    """A plan breaks the terms of its job."""

    kind: PlanRefusalKind
    reason: str
    ledger: JobLedger


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrivacy:
    """What jobs have spent on a model since its weights were pushed last, oldest job first."""

    version: int
    jobs: tuple[JobPrivacy, ...]


PlanAnswer: TypeAlias = Plan | JobEnd | StoreRefusal | PlanRefusal | StaleLease | None
"""The answer to a plan; None: a later plan, or another one of its task, is stored."""
