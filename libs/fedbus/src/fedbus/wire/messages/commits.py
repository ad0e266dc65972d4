"""Messages about the commit of a round and about the fate of single updates."""

from dataclasses import dataclass
from typing import Annotated, Literal

from fedbus.scalars import Bounds, Ident, RoundNumber, Text
from fedbus.wire.blobs import BlobRef, ModelRef
from fedbus.wire.identifiers import Digest, NodeName, TaskNumber
from fedbus.wire.privacy import LedgerEntry, NoiseStep, PrivacySpent
from fedbus.wire.round_records import RoundRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Fetch the aggregate from the sender, and insert the record if the round has none."""

    record: RoundRecord
    weights: BlobRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """The round is stored as this record and version, by this commit or by an earlier one."""

    version: ModelRef
    record: RoundRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRefused:
    """The round cannot be committed, for this reason."""

    job: Ident
    round: RoundNumber
    task: TaskNumber
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordNoise:
    """Append this entry to the job's ledger, before its noise is drawn.

    An equal entry for a task that has one is the same entry; another one for the task is refused.
    """

    entry: LedgerEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseRecorded:
    """The ledger has the entry for this task; `spent` is what the job has spent with it.

    `updates` is the entry's: a collector that was restarted ignores an answer about another set.
    `steps` are what the noise of all entries of the job was drawn from, oldest first, the new one
    last; empty if the job's mechanism does not need earlier noise.
    """

    job: Ident
    task: TaskNumber
    spent: PrivacySpent
    updates: Digest | None = None
    steps: Annotated[tuple[NoiseStep, ...], Bounds(max_length=100_000)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseRefused:
    """The ledger takes no entry of these updates for this task: its noise must not be drawn."""

    job: Ident
    task: TaskNumber
    reason: Text
    updates: Digest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LookUp:
    """Return what is stored about this agent's update."""

    job: Ident
    agent: NodeName
    task: TaskNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedUp:
    """The fate of an agent's update.

    `stored`: it is in a committed round. `drop`: it will never be in one. `unknown`: its round is
    not decided yet.
    """

    job: Ident
    agent: NodeName
    task: TaskNumber
    verdict: Literal["stored", "drop", "unknown"]
