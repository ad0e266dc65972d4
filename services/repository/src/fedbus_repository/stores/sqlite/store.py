# ruff: noqa: D102 - the methods are documented in Store
"""Embedded store: records in SQLite, blobs in a folder, no server.

Slow work (hashing and syncing a blob) is done before a transaction, so that transactions are short.
"""

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from secrets import token_bytes

from fedbus.core import clock
from fedbus.core.blob_io import BlobSource
from fedbus.errors import StoreError
from fedbus.privacy.budget import spent_of
from fedbus.wire.blobs import BlobRef
from fedbus.wire.identifiers import Timestamp
from fedbus.wire.messages import PushModel
from fedbus.wire.round_records import RoundRecord
from fedbus_repository.stores import commit_rules, rules
from fedbus_repository.stores.base import Upload
from fedbus_repository.stores.derived_versions import derivation_fault, is_same_push
from fedbus_repository.stores.disk import OnStep
from fedbus_repository.stores.files import BlobFolder
from fedbus_repository.stores.model_epsilon import is_used
from fedbus_repository.stores.records import (
    HistoryEntry,
    ModelView,
    StoreRefusal,
    Verdict,
    Version,
    blobs_of,
)
from fedbus_repository.stores.retention import best, outdated, retained
from fedbus_repository.stores.sqlite import job_rows, ledger_rows, version_rows
from fedbus_repository.stores.sqlite.database import Database
from fedbus_repository.stores.sqlite.job_store import SqliteJobs
from fedbus_repository.stores.sqlite.ledger_store import Accountant, unknown_model


class SqliteStore(SqliteJobs):
    """A `Store` in one folder, used by one process at a time; else it raises StoreError.

    Args:
        keep: Number of versions of a model that keep their weights; see retention.py.
        durable: False syncs nothing, for tests.
        on_step: Called before each step on the disk, for fault tests.
        secret: Returns the secret of a new job.
        now: Clock that timestamps jobs and versions.
        accountant: Computes what a job has spent.
    """

    def __init__(  # noqa: PLR0913 - all but the folder have defaults, and are for tests
        self,
        folder: Path,
        *,
        keep: int = 10,
        durable: bool = True,
        on_step: OnStep = lambda _: None,
        secret: Callable[[], bytes] = lambda: token_bytes(32),
        now: Callable[[], Timestamp] = clock.utc,
        accountant: Accountant = spent_of,
    ) -> None:
        database = Database(folder, durable=durable, on_step=on_step)
        try:
            blobs = BlobFolder(folder, durable=durable, on_step=on_step)
            if not database.is_new:  # beside a lost database, blobs are all that is left
                with database.reading("sweeping blobs") as db:
                    blobs.sweep(version_rows.referenced_digests(db))
        except StoreError:
            database.close()
            raise
        super().__init__(database, blobs, secret, now, accountant)
        self.folder = folder
        self._keep = keep

    def close(self) -> None:
        self._blobs.close()
        self._database.close()

    def check_commit(self, record: RoundRecord) -> HistoryEntry | StoreRefusal | None:
        with self._database.reading("checking a commit") as db:
            return _commit_answer(db, record)

    def commit(self, record: RoundRecord, weights: BlobRef) -> HistoryEntry | StoreRefusal:
        with self._database.lock:  # until old blobs are deleted, so that no push references one
            with self._database.writing(f"committing round {record.round} of {record.job}") as db:
                answer = _commit_answer(db, record)
                if answer is not None:
                    return answer
                for blob in blobs_of(weights, record):
                    self._require(blob)
                made = version_rows.insert_round(db, record, weights, self._now())
                old = outdated(version_rows.with_weights(db, made.model), self._keep)
                version_rows.mark_deleted(db, old)
                digests = {blob.digest for each in old for blob in each.blobs}
                deleted = version_rows.unreferenced(db, digests)
            self._blobs.delete(deleted)
        return HistoryEntry(version=made, record=record)

    def look_up(self, job: str, agent: str, task: int) -> Verdict:
        with self._database.reading(f"looking up an update of {agent}") as db:
            found = job_rows.job(db, job)
            if found is None:
                return "unknown"
            return rules.verdict(
                task,
                counted=(agent, task) in version_rows.counted_updates(db, job, task),
                ended=found.ended is not None,
                plan=found.plan,
                rounds=found.rounds,
            )

    def check_push(self, message: PushModel) -> Version | StoreRefusal | None:
        with self._database.reading(f"checking a push of model {message.model}") as db:
            return _push_answer(db, message)

    def push(self, message: PushModel, files: Iterable[BlobRef]) -> Version | StoreRefusal:
        with self._database.writing(f"storing a version of model {message.model}") as db:
            answer = _push_answer(db, message)
            if answer is not None:
                return answer
            spec_files = (message.spec, *files)
            for blob in (message.weights, *spec_files):
                self._require(blob)
            return version_rows.insert_pushed(db, message, spec_files, self._now())

    def latest(self) -> tuple[Version, ...]:
        with self._database.reading("listing models") as db:
            return version_rows.latest_of_all(db)

    def show(
        self, model: str, version: int | None, limit: int, before: int | None = None
    ) -> ModelView | StoreRefusal:
        with self._database.reading(f"showing model {model}") as db:
            latest = version_rows.latest(db, model)
            if latest is None:
                return unknown_model(db, model)
            found = latest if version is None else version_rows.version(db, model, version)
            if found is None:
                return StoreRefusal(rules.unknown_version(latest, version))
            kept = version_rows.with_weights(db, model)
            top = best(kept)
            return ModelView(
                version=found,
                history=version_rows.newest(db, model, limit, before),
                versions=latest.version,
                kept=tuple(retained(kept)),
                best=None if top is None else top.version,
            )

    def record(self, version: Version) -> RoundRecord | None:
        if version.job is None:
            return None
        with self._database.reading(f"reading a record of model {version.model}") as db:
            found = version_rows.committed_round(db, version.job, version.round)
            return None if found is None else found.record

    def history(self) -> list[HistoryEntry]:
        with self._database.reading("reading the history") as db:
            return list(version_rows.history(db))

    def holds(self, blob: BlobRef) -> bool:
        return self._blobs.holds(blob)

    def upload(self, blob: BlobRef) -> Upload:
        return self._blobs.upload(blob)

    def delete_unreferenced(self, blobs: Iterable[BlobRef]) -> None:
        with self._database.reading("deleting blobs") as db:
            self._blobs.delete(version_rows.unreferenced(db, (blob.digest for blob in blobs)))

    def open_blob(self, digest: str) -> BlobSource | None:
        return self._blobs.open(digest)

    def _require(self, blob: BlobRef) -> None:
        source = self._blobs.open(blob.digest)
        if source is None or source.size != blob.size:
            raise StoreError(f"blob {blob.digest[:12]} is missing from the store; push it again")


def _commit_answer(
    db: sqlite3.Connection, record: RoundRecord
) -> HistoryEntry | StoreRefusal | None:
    """Return the answer to a commit; None: it may be inserted."""
    committed = version_rows.committed_round(db, record.job, record.round)
    if committed is not None:
        return committed
    job = job_rows.job(db, record.job)
    if job is None:
        return StoreRefusal(rules.unknown_job(record.job))
    context = commit_rules.CommitContext(
        model=job.model,
        ended=job.ended,
        plan=job.plan,
        latest=version_rows.latest(db, job.model) or job.base,
        strategy=job.latest.strategy if job.rounds else None,
        submitted=job.strategy,
        entry=ledger_rows.entry_of_round(db, job, record.task),
        counted=version_rows.counted_updates(db, record.job, record.task),
    )
    reason = commit_rules.commit_fault(record, context)
    return None if reason is None else StoreRefusal(reason)


def _push_answer(db: sqlite3.Connection, message: PushModel) -> Version | StoreRefusal | None:
    """Return the answer to a push; None: it may be inserted."""
    model, derived = message.model, message.derived
    latest = version_rows.latest(db, model)
    if latest is not None and is_same_push(latest, message):
        begins_again = message.reset and derived is None
        if not (begins_again and is_used(ledger_rows.jobs_since_push(db, model))):
            return latest
    job = job_rows.running_job(db, model)
    if job is not None:
        return StoreRefusal(rules.model_in_training(model, job))
    source = None if derived is None else version_rows.version(db, model, derived.version)
    pushed = version_rows.last_pushed(db, model)
    if fault := derivation_fault(message, latest, source, pushed):
        return StoreRefusal(fault)
    trained = latest is not None and (latest.job is not None or latest.derived is not None)
    if latest is not None and trained and derived is None and not message.reset:
        return StoreRefusal(rules.would_replace_trained(latest))
    return None
