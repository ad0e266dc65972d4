"""Messages about the commit of a round and about the fate of single updates."""

from dataclasses import dataclass
from typing import Literal

from fedbus.scalars import Ident, RoundNumber, Text
from fedbus.wire.blobs import BlobRef, ModelRef
from fedbus.wire.identifiers import NodeName, TaskNumber
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
