# ruff: noqa: D102 - Store says what the methods promise
"""The embedded store: SQLite for the records, a folder for the blobs, no server.

What takes long (hashing and syncing a blob) happens before a transaction, so that transactions are
short.
"""

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from secrets import token_bytes

from fedbus.core import clock
from fedbus.core.blob_io import BlobSource
from fedbus.errors import StoreError
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef
from fedbus.wire.identifiers import Metrics, Moment
from fedbus.wire.round_records import Plan, RoundRecord
from fedbus_repository.stores import rules
from fedbus_repository.stores.base import Upload
from fedbus_repository.stores.disk import At
from fedbus_repository.stores.files import BlobFolder
from fedbus_repository.stores.records import (
    EndPhase,
    HistoryEntry,
    JobEnd,
    Lease,
    ModelView,
    Origin,
    StaleLease,
    StoredJob,
    StoreRefusal,
    Verdict,
    Version,
)
from fedbus_repository.stores.retention import best, outdated, reasons
from fedbus_repository.stores.sqlite import rows
from fedbus_repository.stores.sqlite.database import Database


def new_secret() -> bytes:
    """Make the 32 bytes that seed a job's chance."""
    return token_bytes(32)


class SqliteStore:
    """A `Store` in one folder, which one process holds at a time.

    `keep` versions of a model keep their weights (retention.py). For tests: `durable=False` syncs
    nothing, `at` is told each step before it is taken, `secret` makes the jobs' secrets, `now` is
    the clock by which jobs and versions are stamped.

    Raises:
        StoreError: the folder cannot be used, or another repository uses it.
    """

    def __init__(  # noqa: PLR0913 - a folder; the rest has good defaults, and is for tests
        self,
        folder: Path,
        *,
        keep: int = 10,
        durable: bool = True,
        at: At = lambda _: None,
        secret: Callable[[], bytes] = new_secret,
        now: Callable[[], Moment] = clock.utc,
    ) -> None:
        self.folder = folder
        self._keep, self._secret, self._now = keep, secret, now
        self._database = Database(folder, durable=durable, at=at)
        try:
            self._blobs = BlobFolder(folder, durable=durable, at=at)
            if not self._database.fresh:  # beside a lost database, blobs are all that is left
                with self._database.reading("sweeping blobs") as db:
                    self._blobs.sweep(rows.named(db))
        except StoreError:
            self._database.close()
            raise

    def close(self) -> None:
        self._blobs.close()
        self._database.close()

    # ── the lease ─────────────────────────────────────────────────────────────────────────────────

    def take_lease(self, holder: str, incarnation: int, *, expired: int | None = None) -> Lease:
        with self._database.writing("granting the lease") as db:
            held = rows.lease(db)
            if held is not None and (held.holder, held.incarnation) == (holder, incarnation):
                return held
            if held is not None and held.holder != holder and held.epoch != expired:
                return held
            epoch = 1 if held is None else held.epoch + 1
            db.execute("REPLACE INTO lease VALUES (1, ?, ?, ?)", (holder, incarnation, epoch))
            return Lease(holder=holder, incarnation=incarnation, epoch=epoch)

    # ── jobs ──────────────────────────────────────────────────────────────────────────────────────

    def store_job(
        self, epoch: int, job: str, model: str, file: bytes, origin: Origin | None = None
    ) -> StoredJob | StoreRefusal | StaleLease:
        with self._database.writing(f"storing job {job}") as db:
            found = _submitted(db, epoch, job, origin, self._now())
            if isinstance(found, StaleLease):
                return found
            if isinstance(found, StoredJob):
                if differs := rules.difference(found.file, file):
                    return StoreRefusal(rules.taken(found, differs), "training_id")
                if origin is not None and origin.redelivered:
                    rows.unsettle(db, found.job, epoch, origin)
                return found
            base = rows.latest(db, model)
            if base is None:
                return _no_model(db, model)
            if (other := rows.running(db, model)) is not None:
                return StoreRefusal(rules.busy(model, other), "model_name")
            rows.insert_job(db, job, base, file, self._secret(), self._now())
            if origin is not None:
                rows.unsettle(db, job, epoch, origin)
            return _job(db, epoch, job)

    def store_plan(
        self, epoch: int, plan: Plan
    ) -> Plan | JobEnd | StoreRefusal | StaleLease | None:
        with self._database.writing(f"storing a plan of job {plan.job}") as db:
            found = _job(db, epoch, plan.job)
            if not isinstance(found, StoredJob):
                return found
            if found.ended is not None:
                return found.ended
            if found.plan is not None and plan.task <= found.plan.task:
                return plan if plan == found.plan else None
            db.execute(
                "UPDATE jobs SET plan = ?, unsettled = NULLIF(unsettled, ?) WHERE job = ?",
                (codec.pack(plan), epoch, plan.job),
            )
            return plan

    def store_evaluation(
        self, epoch: int, job: str, round: int, metrics: Metrics
    ) -> Version | StoreRefusal | StaleLease | None:
        with self._database.writing(f"storing a score of job {job}") as db:
            found = _job(db, epoch, job)
            return (
                rows.merge_score(db, job, round, metrics) if isinstance(found, StoredJob) else found
            )

    def end_job(
        self, epoch: int, job: str, phase: EndPhase, reason: str
    ) -> JobEnd | StoreRefusal | StaleLease:
        with self._database.writing(f"ending job {job}") as db:
            found = _job(db, epoch, job)
            if not isinstance(found, StoredJob):
                return found
            if found.ended is not None:
                return found.ended
            at = self._now()
            db.execute(
                "UPDATE jobs SET phase = ?, reason = ?, ended = ?,"
                " unsettled = NULLIF(unsettled, ?) WHERE job = ?",
                (phase, reason, at, epoch, job),
            )
            return JobEnd(job=job, phase=phase, reason=reason, at=at)

    def forget_job(self, epoch: int, job: str) -> StoredJob | StoreRefusal | StaleLease:
        with self._database.writing(f"forgetting job {job}") as db:
            found = _job(db, epoch, job)
            if isinstance(found, StoredJob):
                if found.ended is None:
                    return StoreRefusal(rules.runs(job))
                db.execute("UPDATE jobs SET forgotten = 1 WHERE job = ?", (job,))
            return found

    def list_jobs(self, epoch: int) -> tuple[str, ...] | StaleLease:
        with self._database.reading("listing jobs") as db:
            return _stale(db, epoch) or rows.list_jobs(db)

    def load_job(
        self, epoch: int, job: str, origin: Origin | None = None
    ) -> StoredJob | StoreRefusal | StaleLease:
        with self._database.reading(f"loading job {job}") as db:
            return _submitted(db, epoch, job, origin, self._now())

    # ── rounds and versions ───────────────────────────────────────────────────────────────────────

    def check_commit(
        self, record: RoundRecord, weights: BlobRef
    ) -> HistoryEntry | StoreRefusal | None:
        with self._database.reading("weighing a commit") as db:
            return _weighed(db, record, weights)

    def commit(self, record: RoundRecord, weights: BlobRef) -> HistoryEntry | StoreRefusal:
        with (
            self._database.lock
        ):  # held until the old blobs are gone, so that nobody names them again
            with self._database.writing(f"committing round {record.round} of {record.job}") as db:
                answer = _weighed(db, record, weights)
                if answer is not None:
                    return answer
                self._require(weights)
                made = rows.insert_round(db, record, weights, self._now())
                gone = outdated(rows.kept(db, made.model), self._keep)
                rows.forget_weights(db, gone)
                deleted = rows.unnamed(db, {old.weights.digest for old in gone})
            self._blobs.delete(deleted)
        return HistoryEntry(version=made, record=record)

    def look_up(self, job: str, agent: str, task: int) -> Verdict:
        with self._database.reading(f"looking up an update of {agent}") as db:
            found = rows.job(db, job)
            if found is None:
                return "unknown"
            return rules.verdict(
                task,
                counted=(agent, task) in rows.counted(db, job, task),
                ended=found.ended is not None,
                plan=found.plan,
                rounds=found.rounds,
            )

    def check_push(
        self, model: str, spec: BlobRef, weights: BlobRef, *, reset: bool = False
    ) -> Version | StoreRefusal | None:
        with self._database.reading(f"looking at model {model}") as db:
            return _offered(db, model, spec, weights, reset=reset)

    def push(
        self,
        model: str,
        spec: BlobRef,
        weights: BlobRef,
        files: Iterable[BlobRef],
        *,
        reset: bool = False,
    ) -> Version | StoreRefusal:
        with self._database.writing(f"storing a version of model {model}") as db:
            answer = _offered(db, model, spec, weights, reset=reset)
            if answer is not None:
                return answer
            named = (spec, *files)
            for blob in (weights, *named):
                self._require(blob)
            return rows.insert_pushed(db, model, weights, named, self._now())

    def latest(self) -> tuple[Version, ...]:
        with self._database.reading("listing models") as db:
            return rows.latest_of_all(db)

    def show(
        self, model: str, version: int | None, limit: int, before: int | None = None
    ) -> ModelView | StoreRefusal:
        with self._database.reading(f"showing model {model}") as db:
            latest = rows.latest(db, model)
            if latest is None:
                return _no_model(db, model)
            found = latest if version is None else rows.version(db, model, version)
            if found is None:
                return StoreRefusal(rules.no_version(latest, version))
            kept = rows.kept(db, model)
            top = best(kept)
            return ModelView(
                version=found,
                history=rows.newest(db, model, limit, before),
                versions=latest.version,
                kept=tuple(reasons(kept)),
                best=None if top is None else top.version,
            )

    def history(self) -> list[HistoryEntry]:
        with self._database.reading("reading the trail") as db:
            return list(rows.trail(db))

    # ── blobs ─────────────────────────────────────────────────────────────────────────────────────

    def holds(self, blob: BlobRef) -> bool:
        return self._blobs.holds(blob)

    def upload(self, blob: BlobRef) -> Upload:
        return self._blobs.upload(blob)

    def delete_unreferenced(self, blobs: Iterable[BlobRef]) -> None:
        with self._database.reading("deleting blobs") as db:
            self._blobs.delete(rows.unnamed(db, (blob.digest for blob in blobs)))

    def open_blob(self, digest: str) -> BlobSource | None:
        return self._blobs.open(digest)

    def _require(self, blob: BlobRef) -> None:
        source = self._blobs.open(blob.digest)
        if source is None or source.size != blob.size:
            raise StoreError(f"blob {blob.digest[:12]} is not here any more")


def _stale(db: sqlite3.Connection, epoch: int) -> StaleLease | None:
    held = rows.lease(db)
    return StaleLease(held.epoch) if held is not None and epoch < held.epoch else None


def _job(db: sqlite3.Connection, epoch: int, name: str) -> StoredJob | StoreRefusal | StaleLease:
    return _stale(db, epoch) or rows.job(db, name) or StoreRefusal(rules.no_job(name))


def _submitted(
    db: sqlite3.Connection, epoch: int, name: str, origin: Origin | None, now: Moment
) -> StoredJob | StoreRefusal | StaleLease:
    found = _job(db, epoch, name)
    if origin is None or not isinstance(found, StoreRefusal):
        return found
    earlier = rows.of_origin(db, origin.digest)
    if earlier is None or not rules.repeats(earlier, origin, now):
        return found
    return _job(db, epoch, earlier.job)


def _no_model(db: sqlite3.Connection, model: str) -> StoreRefusal:
    known = (each.model for each in rows.latest_of_all(db))
    return StoreRefusal(rules.no_model(model, known), "model_name")


def _weighed(
    db: sqlite3.Connection, record: RoundRecord, weights: BlobRef
) -> HistoryEntry | StoreRefusal | None:
    committed = rows.committed(db, record.job, record.round)
    if committed is not None:
        return committed
    job = rows.job(db, record.job)
    if job is None:
        return StoreRefusal(rules.no_job(record.job))
    latest = rows.latest(db, job.model) or job.base
    counted = rows.counted(db, record.job, record.task)
    standing = rules.CommitContext(
        model=job.model, ended=job.ended, plan=job.plan, latest=latest, counted=counted
    )
    reason = rules.why_no_commit(record, weights, standing)
    return None if reason is None else StoreRefusal(reason)


def _offered(
    db: sqlite3.Connection, model: str, spec: BlobRef, weights: BlobRef, *, reset: bool
) -> Version | StoreRefusal | None:
    latest = rows.latest(db, model)
    if latest is not None and (latest.spec, latest.weights) == (spec, weights):
        return latest
    job = rows.running(db, model)
    if job is not None:
        return StoreRefusal(rules.busy(model, job))
    if latest is not None and latest.job is not None and not reset:
        return StoreRefusal(rules.trained(latest))
    return None
