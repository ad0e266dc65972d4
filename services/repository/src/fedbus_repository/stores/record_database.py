"""Protocols of what a database offers to the decisions of a store: the records.

`LedgerDecisions`, `JobDecisions` and `RecordStore` decide what each method of a `Store` answers;
SQLite and MongoDB only read and write. Every write of `Records` is one atomic change of one
document, so that a document database needs no transaction over several; SQLite has one around all
writes of a block. Decisions are serialized by the lock of the one process that owns the store.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from fedbus.wire.blobs import BlobRef
from fedbus.wire.energy import EnergyUsed
from fedbus.wire.identifiers import Timestamp
from fedbus.wire.round_records import Plan, RoundRecord
from fedbus.wire.strategies import Strategy
from fedbus_repository.stores.commit_rules import CountedUpdate
from fedbus_repository.stores.document_records import DocumentRecords
from fedbus_repository.stores.ledger_records import EntryFacts, JobOnModel
from fedbus_repository.stores.lineage import Branch
from fedbus_repository.stores.name_records import NameRecords
from fedbus_repository.stores.records import (
    HistoryEntry,
    JobEnd,
    Lease,
    Origin,
    StoredConfiguration,
    StoredJob,
    Version,
)
from fedbus_repository.stores.rules import EarlierSubmission

MAX_LISTED_ENDED_JOBS = 50
"""Ended jobs that a new controller announces again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job as it is inserted; it trains the model of `base`, its latest version.

    Attributes:
        continues_state: Its first round continues the state that its base was stored with.
        origin: The submission that it came from; `epoch` is that of the controller that sent it,
            which has yet to acknowledge the request.
    """

    job: str
    base: Version
    file: bytes
    secret: bytes
    at: Timestamp
    epoch: int
    continues_state: bool = False
    strategy: Strategy | None = None
    origin: Origin | None = None


class VersionRecords(Protocol):
    """Versions of models, the rounds that made them, and the blobs that they reference.

    Versions, and so their rounds, are never deleted.
    """

    def version(self, model: str, number: int) -> Version | None:
        """Read one version."""

    def latest(self, model: str) -> Version | None:
        """Read the latest version of a model."""

    def models(self) -> tuple[str, ...]:
        """Read the names of all models, in order; no version is read."""

    def latest_of_all(self) -> tuple[Version, ...]:
        """Read the latest version of every model, by name."""

    def newest(self, model: str, limit: int, before: int | None = None) -> tuple[Version, ...]:
        """Read at most `limit` versions of a model below `before`, newest first."""

    def with_weights(self, model: str) -> tuple[Version, ...]:
        """Read the versions of a model that still have their weights, newest first."""

    def versions(self, model: str, numbers: Sequence[int]) -> tuple[Version, ...]:
        """Read the versions of a model that have these numbers, in ascending order."""

    def branches(self, model: str) -> Sequence[Branch]:
        """Read where the branches of a model's tree begin, in ascending order.

        A branch begins at each version whose base is not the version before it.
        """

    def last_pushed(self, model: str) -> int:
        """Return the last version whose weights were pushed, not trained or derived; 0: none.

        What jobs have spent on a model counts from it.
        """

    def committed_round(self, job: str, number: int) -> HistoryEntry | None:
        """Read a committed round of a job."""

    def history(self) -> Iterator[HistoryEntry]:
        """Read every version, by model and version."""

    def counted_updates(self, job: str, task: int) -> set[CountedUpdate]:
        """Read which updates for a task are part of a committed round."""

    def rounds_of(self, job: str, limit: int, before: int | None = None) -> tuple[Version, ...]:
        """Read the versions of a job's rounds below round `before`, newest first."""

    def energy_of(self, job: str) -> Iterable[EnergyUsed]:
        """Read what each round of a job has used, of those that were measured."""

    def referenced_digests(self) -> Collection[str]:
        """Read the digests of all blobs that a record references."""

    def unreferenced(self, digests: Iterable[str]) -> list[str]:
        """Return those digests that no record references."""

    def insert_version(
        self, made: Version, record: RoundRecord | None, files: tuple[BlobRef, ...]
    ) -> None:
        """Write a version with the record of its round, and the updates that count in it.

        Its own blobs are referenced until `mark_deleted`, `files` permanently.
        """

    def set_evaluation(self, evaluated: Version) -> None:
        """Write the metrics and the energy of a round's version, which is evaluated now."""

    def mark_deleted(self, version: Version) -> None:
        """Write that the blobs of a version are deleted: it references them no longer."""


class JobRecords(Protocol):
    """The lease, and jobs with their plans and ends; jobs are never deleted."""

    def lease(self) -> Lease | None:
        """Read the current lease."""

    def replace_lease(self, new: Lease) -> None:
        """Write the lease."""

    def job(self, name: str) -> StoredJob | None:
        """Read a job with its base and its latest version."""

    def newest_of_origin(self, digest: str) -> EarlierSubmission | None:
        """Read the newest job of an origin."""

    def running_job(self, model: str) -> str | None:
        """Return the id of the job that trains a model."""

    def list_jobs(self) -> tuple[str, ...]:
        """Return the running jobs, then the newest ended ones, `MAX_LISTED_ENDED_JOBS` at most."""

    def jobs_on(self, model: str, base: int) -> tuple[JobOnModel, ...]:
        """Read the jobs on a model that began at this version or a later one, oldest first."""

    def jobs_of(self, model: str, limit: int, before: str | None = None) -> tuple[str, ...]:
        """Return the ids of a model's jobs that were stored before one of them, newest first."""

    def insert_job(self, new: NewJob) -> None:
        """Write a job; at most one of a model is running."""

    def set_origin(self, name: str, epoch: int, origin: Origin) -> None:
        """Write a job's origin, and the epoch whose controller has yet to acknowledge it."""

    def set_plan(self, epoch: int, plan: Plan, entered: EntryFacts | None) -> None:
        """Write a job's plan, and the ledger entry that is stored with it: both or neither.

        A request that was submitted in this epoch is settled by it. The first noise key stays that
        of the job. A document database writes the entry into the job's document with the plan, and
        copies it into the ledger before anything else is read, also after a restart.
        """

    def set_end(self, epoch: int, end: JobEnd) -> None:
        """Write a job's end; a request that was submitted in this epoch is settled by it."""

    def set_forgotten(self, name: str) -> None:
        """Write that a job is no longer listed."""


class LedgerRecords(Protocol):
    """Entries of the ledgers of jobs; they are never changed and never deleted."""

    def entry_of(self, job: str, task: int) -> EntryFacts | None:
        """Read the entry of a task, and what its job had spent with it."""

    def last_entry(self, job: str) -> EntryFacts | None:
        """Read the last entry of a job, and so what the job has spent."""

    def entries_after(self, job: str, number: int) -> Iterator[EntryFacts]:
        """Read the entries of a job after the one of this number, in order; the first has 1."""

    def entries(self, job: str) -> int:
        """Return the number of entries of a job."""

    def asked_agents(self, job: str) -> int:
        """Return the number of agents in all entries of a job."""

    def append_entry(self, facts: EntryFacts) -> None:
        """Write the next entry of a job's ledger; one of this job and task must not exist."""


class ConfigurationRecords(Protocol):
    """Configurations of jobs; they are never changed and never deleted."""

    def configuration(self, name: str) -> StoredConfiguration | None:
        """Read a configuration by its id."""

    def configurations(
        self, model: str | None, limit: int, before: int | None = None
    ) -> tuple[StoredConfiguration, ...]:
        """Read configurations of a model, or of all, below the number `before`, newest first."""

    def insert_configuration(self, new: StoredConfiguration) -> None:
        """Write a configuration; neither its id nor its number must exist."""


class Records(
    VersionRecords,
    JobRecords,
    LedgerRecords,
    NameRecords,
    DocumentRecords,
    ConfigurationRecords,
    Protocol,
):
    """All records of a store, within one `reading` or `writing` block."""


class RecordDatabase(Protocol):
    """The records of a store, which one process owns."""

    @property
    def lock(self) -> AbstractContextManager[object]:
        """The reentrant lock of both blocks; a caller may hold it over several of them."""

    def reading(self, operation: str) -> AbstractContextManager[Records]:
        """Read consistently: no other thread writes meanwhile.

        A fault of the database raises StoreError, which begins with the operation.
        """

    def writing(self, operation: str) -> AbstractContextManager[Records]:
        """Write; all is durable once the block has ended.

        A StoreError means that an embedded database has changed nothing, and that a document
        database has made a part of the block's changes, in their order: each leaves a state from
        which the same request, sent again, continues.
        """

    def close(self) -> None:
        """Release the database for another process; may be called twice."""
