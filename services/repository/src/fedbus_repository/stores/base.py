"""Protocols of a store: `Store` for records and blobs, `Upload` for a blob that is being received.

Every method is one atomic change or one consistent read. Methods are called in worker threads,
several at a time. `RecordStore` implements them once, on the `Records` of a database, and
`rules.py`, `commit_rules.py` and `privacy_rules.py` decide what a method refuses, so that all
stores answer alike. A fault of the database raises StoreError; the request may be sent again.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from fedbus.core.blob_io import BlobSource
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import EndPhase
from fedbus.wire.energy import EnergyUsed
from fedbus.wire.identifiers import Metrics
from fedbus.wire.messages import PushModel
from fedbus.wire.privacy import LedgerEntry
from fedbus.wire.round_records import Plan, RoundRecord
from fedbus.wire.strategies import Strategy
from fedbus_repository.stores.damaged_records import DamagedModel
from fedbus_repository.stores.document_records import DocumentStore
from fedbus_repository.stores.ledger_records import (
    EntryFacts,
    JobLedger,
    ModelPrivacy,
    PlanAnswer,
    RecordedNoise,
)
from fedbus_repository.stores.records import (
    ConfigurationEntry,
    HistoryEntry,
    JobAnswer,
    JobEnd,
    JobFacts,
    Lease,
    ModelView,
    Origin,
    StaleLease,
    StoredConfiguration,
    StoreRefusal,
    Verdict,
    Version,
)
from fedbus_repository.stores.trail_store import TrailStore


class Upload(Protocol):
    """A blob that is being received: a BlobSink that never raises.

    A full disk must not end the service, so `keep` raises the errors of `write`. Until `keep` no
    other caller sees the blob, and a restart discards it.
    """

    @property
    def blob_ref(self) -> BlobRef:
        """Return the expected digest and size; of `Store.receive`, once finished, those found."""

    def write(self, offset: int, data: bytes | memoryview, /) -> None:
        """Write bytes at an offset."""

    def read(self, offset: int, length: int, /) -> bytes:
        """Read bytes before `keep`, to inspect them; raise StoreError if that or a write fails."""

    def finish(self) -> BlobRef:
        """Return the digest and size of what has arrived in order; no write may follow.

        What was reserved beyond it is free again, so that the next file can have that space.

        Raises:
            TransferError: Its digest is not the expected one.
            StoreError: A write failed.
        """

    def keep(self) -> None:
        """Make it a durable blob of the store.

        Raises:
            TransferError: Its digest is not the expected one.
            StoreError: It could not be written.
        """

    def discard(self) -> None:
        """Delete it, unless it was kept or discarded before."""


class Store(TrailStore, DocumentStore, Protocol):
    """Jobs, plans, rounds, versions, the lease, and the blobs that they reference.

    An epoch lower than the lease's is answered with StaleLease.
    """

    def take_lease(self, holder: str, incarnation: int, *, expired: int | None = None) -> Lease:
        """Grant the lease if it is free, the holder's own, or of the epoch that has `expired`.

        Returns the current lease, whether it was granted or not. The store has no clock.
        """

    def store_job(  # noqa: PLR0913 - a job has its parts
        self,
        epoch: int,
        job: str,
        model: str,
        file: bytes,
        origin: Origin | None = None,
        *,
        continued: Strategy | None = None,
        strategy: Strategy | None = None,
    ) -> JobAnswer:
        """Store a job with a new secret; the same id with an equal file is the same job.

        With an origin, return the job that the submission has already become (`rules.repeats`),
        whatever its id. A plan or an end stored under the submission's epoch shows that its
        controller continued, so that the broker no longer keeps the request.

        With `continued`, its strategy, a new job's first round continues the state that the latest
        version is stored with; refused if another strategy made that version, or it has no state.

        Its `strategy` is stored with the job: rounds of a job that promises something are judged by
        it. Refused if it has a privacy mechanism and the ε of the model is unknown, or if it cannot
        continue the encryption of the latest version.
        """

    def store_plan(self, epoch: int, plan: Plan) -> PlanAnswer:
        """Store a plan; None: a later plan, or another one of this task, is stored.

        Refused if its state is not the one that is stored with its base, or if it breaks the job's
        privacy terms. StoreError if the arrays of that state are missing: the message says how to
        mend it. If the agents of the plan protect their own data, their ledger entry is stored in
        the same change.
        """

    def planned(self, job: str) -> Plan | None:
        """Return the last stored plan of a job; None if there is none."""

    def record_noise(self, entry: LedgerEntry) -> RecordedNoise | StoreRefusal:
        """Append an entry to a job's ledger, unless it is there already.

        It is never deleted, and durable before this returns: its noise may be drawn then.
        """

    def job_ledger(self, job: str) -> JobLedger:
        """Return what a job has spent, and who took part in it, by `ordered_by_use`.

        Of an ended job it is not read who took part: no further plan depends on it.
        """

    def model_privacy(self, model: str) -> ModelPrivacy | StoreRefusal:
        """Return what jobs have spent on a model since its weights were pushed last."""

    def check_private_job(self, model: str, private: Strategy) -> StoreRefusal | None:
        """Return why a new job with this strategy, which has a privacy mechanism, is refused."""

    def store_evaluation(
        self,
        epoch: int,
        job: str,
        round: int,
        metrics: Metrics,
        energy: EnergyUsed | None = None,
    ) -> Version | StoreRefusal | StaleLease | None:
        """Merge an evaluation into the metrics of a round's version; None: no such round.

        `energy` of its evaluators is added to that of the round.
        """

    def energy(self, job: str) -> EnergyUsed | None:
        """Return what the rounds of a job, and their evaluations, have used."""

    def end_job(
        self, epoch: int, job: str, phase: EndPhase, reason: str
    ) -> JobEnd | StoreRefusal | StaleLease:
        """End a job and return its first stored end."""

    def list_jobs(self, epoch: int) -> tuple[str, ...] | StaleLease:
        """Return the running jobs, then those that have ended, the last submitted first."""

    def forget_job(self, epoch: int, job: str) -> JobAnswer:
        """Stop listing an ended job; its id, file, rounds and versions are kept."""

    def load_job(self, epoch: int, job: str, origin: Origin | None = None) -> JobAnswer:
        """Load a job, or the job that the submission of this origin has already become."""

    def job_facts(self, job: str) -> JobFacts | StoreRefusal:
        """Return what the result of a job is made of; it may run still."""

    def rounds_of(self, job: str, limit: int, before: int | None = None) -> tuple[Version, ...]:
        """Return the versions of a job's rounds below round `before`, newest first."""

    def jobs_of_model(
        self, model: str, limit: int, before: str | None = None
    ) -> tuple[JobFacts, ...] | StoreRefusal:
        """Return the facts of a model's jobs that were stored before one of them, newest first."""

    def store_configuration(self, file: bytes) -> ConfigurationEntry | StoreRefusal:
        """Store the configuration of a job file; a known one is returned instead.

        Refused if the file is not valid, or its model is not stored. `store_job` stores that of its
        file.
        """

    def configuration(self, name: str) -> StoredConfiguration | StoreRefusal:
        """Return a configuration by its id."""

    def configurations(
        self, model: str | None, limit: int, before: int | None = None
    ) -> tuple[StoredConfiguration, ...] | StoreRefusal:
        """Return configurations of a model, or of all, below a number, newest first."""

    def check_commit(self, record: RoundRecord) -> HistoryEntry | StoreRefusal | None:
        """Return what `commit` would answer; None: it would insert, so fetch the blobs."""

    def commit(self, record: RoundRecord, weights: BlobRef) -> HistoryEntry | StoreRefusal:
        """Insert a round unless it is committed already; its blobs must be kept before.

        They are those of `records.blobs_of`. The second commit of a round returns
        the first one's entry. Afterwards the blobs of outdated versions are deleted.
        """

    def look_up(self, job: str, agent: str, task: int) -> Verdict:
        """Return what became of an update."""

    def check_push(self, message: PushModel) -> Version | StoreRefusal | None:
        """Return what `push` would answer; None: it would insert."""

    def push(self, message: PushModel, files: Iterable[BlobRef]) -> Version | StoreRefusal:
        """Insert a version without a round; all its blobs must be kept before.

        `files` are those that the spec names. A version that is derived from an encrypted one is
        refused by the rules of `derived_versions.py`. Without `reset`, refuse if the model's newest
        version was trained and this one is not derived from it. With `reset`, what equals
        the newest version is inserted too if a job has trained the model, or drawn noise for it,
        since the last push: its ε then begins again.
        """

    def latest(self) -> tuple[Version, ...]:
        """Return the latest version of every model whose record can be read, by name."""

    def latest_or_damage(self) -> Mapping[str, Version | DamagedModel]:
        """Return the latest version of every model, or why its record cannot be read, by name."""

    def show(
        self,
        model: str,
        version: int | None,
        limit: int,
        before: int | None = None,
        *,
        name: str | None = None,
    ) -> ModelView | StoreRefusal:
        """Return one version (None: the latest) and at most `limit` versions of the history.

        With `before`, the history begins at the version below that number; with `name`, the version
        is the one that this alias or tag names.
        """

    def record(self, version: Version) -> RoundRecord | None:
        """Return the record of the round that made a version; None if it was pushed."""

    def history(self) -> Iterable[HistoryEntry]:
        """Return every version of every model, by model and version: for the oracle."""

    def ledger(self, job: str) -> Sequence[EntryFacts]:
        """Return all entries of a job's ledger, in order: for the oracle."""

    def holds(self, blob: BlobRef) -> bool:
        """Return whether the store has a blob and it is intact; reads all of its content."""

    def upload(self, blob: BlobRef) -> Upload:
        """Reserve space for a blob that is to be fetched."""

    def receive(self, most_bytes: int, digest: str | None = None) -> Upload:
        """Reserve space for content of at most this size, which arrives in order.

        `keep` makes what has arrived the blob of its digest, without a copy; if a digest is given,
        it must be this one.
        """

    def delete_weights(self, model: str, version: int) -> StoreRefusal | None:
        """Delete the weights of a version, and its other blobs; its record stays.

        Refused if something needs them: they are those of the latest version, of one that a name
        keeps, or of the anchor of an encrypted version that is kept (`retention.needed_for`).
        """

    def delete_unreferenced(self, blobs: Iterable[BlobRef]) -> None:
        """Delete those blobs that no record references: kept for a commit that was then refused."""

    def open_blob(self, digest: str, /) -> BlobSource | None:
        """Open a blob for reading; one that is open already costs nothing."""

    def opened_blob(self, digest: str, /) -> BlobSource | None:
        """Return a blob that is open already; never waits."""

    def close(self) -> None:
        """Release all files and threads; a store that is killed instead loses nothing."""
