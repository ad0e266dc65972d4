# ruff: noqa: D102 - the methods are documented in JobRecords
"""SQL for the lease and the jobs: rows to records and back.

Plans are stored in their wire encoding (msgpack) and read through the codec, so an old plan stays
readable for as long as an old message does.
"""

import hashlib

from fedbus.wire import codec
from fedbus.wire.round_records import Plan
from fedbus.wire.strategies import Strategy
from fedbus_repository.stores.dumped_records import DumpedJob
from fedbus_repository.stores.ledger_records import EntryFacts, JobOnModel
from fedbus_repository.stores.record_database import MAX_LISTED_ENDED_JOBS, NewJob
from fedbus_repository.stores.records import JobEnd, Lease, Origin, StoredJob
from fedbus_repository.stores.rules import EarlierSubmission
from fedbus_repository.stores.sqlite.ledger_rows import LedgerRows
from fedbus_repository.stores.sqlite.version_rows import VersionRows


class JobRows(VersionRows, LedgerRows):
    """`JobRecords` in SQLite."""

    def lease(self) -> Lease | None:
        row = self._db.execute("SELECT holder, incarnation, epoch FROM lease").fetchone()
        return None if row is None else Lease(holder=row[0], incarnation=row[1], epoch=row[2])

    def replace_lease(self, new: Lease) -> None:
        row = (new.holder, new.incarnation, new.epoch)
        self._db.execute("REPLACE INTO lease VALUES (1, ?, ?, ?)", row)

    def job(self, name: str) -> StoredJob | None:
        row = self._db.execute(
            "SELECT model, file, secret, phase, reason, base, plan, created, ended, continues,"
            " forgotten, strategy, noise_key FROM jobs WHERE job = ?",
            (name,),
        ).fetchone()
        if row is None:
            return None
        model, file, secret, phase, reason, base_version, plan, created, ended, *rest = row
        continues, forgotten, strategy, noise_key = rest
        end = None if phase == "running" else JobEnd(job=name, phase=phase, reason=reason, at=ended)
        base = self.version(model, base_version)
        if base is None:  # version rows are never deleted
            raise LookupError(f"job {name}: version {base_version} of model {model} is missing")
        last = self.last_of_job(name)
        return StoredJob(
            job=name,
            model=model,
            file=file,
            secret=secret,
            ended=end,
            base=base,
            latest=last or base,
            rounds=0 if last is None else last.round,
            plan=None if plan is None else codec.unpack(Plan, plan),
            submitted=created,
            continues_state=bool(continues),
            forgotten=bool(forgotten),
            strategy=_strategy_of(strategy),
            noise_key=noise_key,
        )

    def newest_of_origin(self, digest: str) -> EarlierSubmission | None:
        row = self._db.execute(
            "SELECT job, created, phase, unsettled FROM jobs WHERE origin = ?"
            " ORDER BY rowid DESC LIMIT 1",
            (digest,),
        ).fetchone()
        if row is None:
            return None
        name, created, phase, unsettled = row
        return EarlierSubmission(
            job=name, submitted=created, running=phase == "running", settled=unsettled is None
        )

    def running_job(self, model: str) -> str | None:
        row = self._db.execute(
            "SELECT job FROM jobs WHERE model = ? AND phase = 'running'", (model,)
        ).fetchone()
        return None if row is None else str(row[0])

    def list_jobs(self) -> tuple[str, ...]:
        running = self._db.execute(
            "SELECT job FROM jobs WHERE phase = 'running' ORDER BY job LIMIT 9000"
        )
        ended = self._db.execute(
            "SELECT job FROM jobs WHERE phase != 'running' AND NOT forgotten ORDER BY rowid DESC"
            " LIMIT ?",
            (MAX_LISTED_ENDED_JOBS,),
        )
        return tuple(name for (name,) in [*running, *ended])

    def jobs_on(self, model: str, base: int) -> tuple[JobOnModel, ...]:
        rows = self._db.execute(
            "SELECT job, phase, created, strategy FROM jobs WHERE model = ? AND base >= ?"
            " ORDER BY rowid",
            (model, base),
        )
        return tuple(self._job_on_model(*row) for row in rows)

    def jobs_of(self, model: str, limit: int, before: str | None = None) -> tuple[str, ...]:
        rows = self._db.execute(
            "SELECT job FROM jobs WHERE model = ?1 AND (?2 IS NULL"
            " OR rowid < (SELECT rowid FROM jobs WHERE job = ?2)) ORDER BY rowid DESC LIMIT ?3",
            (model, before, limit),
        )
        return tuple(name for (name,) in rows)

    def insert_job(self, new: NewJob) -> None:
        digest = hashlib.sha256(new.file).hexdigest()
        strategy, origin = new.strategy, new.origin
        self._db.execute(
            "INSERT INTO jobs (job, model, file, digest, secret, base, created, continues,"
            " strategy, origin, unsettled) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(new.job, new.base.model, new.file, digest, new.secret, new.base.version, new.at),
                new.continues_state,
                None if strategy is None else codec.pack(strategy),
                *((None, None) if origin is None else (origin.digest, new.epoch)),
            ),
        )

    def dumped_job(self, name: str) -> DumpedJob | None:
        """Read all that is stored of a job."""
        row = self._db.execute(
            "SELECT model, base, file, secret, created, phase, reason, ended, plan, continues,"
            " forgotten, strategy, noise_key, origin, unsettled FROM jobs WHERE job = ?",
            (name,),
        ).fetchone()
        if row is None:
            return None
        model, base, file, secret, created, phase, reason, ended, plan, continues, *rest = row
        forgotten, strategy, noise_key, origin, unsettled = rest
        end = None if phase == "running" else JobEnd(job=name, phase=phase, reason=reason, at=ended)
        return DumpedJob(
            job=name,
            model=model,
            base=base,
            file=file,
            secret=secret,
            submitted=created,
            ended=end,
            plan=None if plan is None else codec.unpack(Plan, plan),
            continues_state=bool(continues),
            forgotten=bool(forgotten),
            strategy=_strategy_of(strategy),
            noise_key=noise_key,
            origin=origin,
            unsettled=unsettled,
        )

    def insert_dumped_job(self, job: DumpedJob) -> None:
        """Write all that another store had of a job."""
        end, plan, strategy = job.ended, job.plan, job.strategy
        self._db.execute(
            "INSERT INTO jobs (job, model, base, file, digest, secret, created, phase, reason,"
            " ended, plan, continues, forgotten, strategy, noise_key, origin, unsettled)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(job.job, job.model, job.base, job.file, hashlib.sha256(job.file).hexdigest()),
                *(job.secret, job.submitted),
                *(("running", "", None) if end is None else (end.phase, end.reason, end.at)),
                None if plan is None else codec.pack(plan),
                *(job.continues_state, job.forgotten),
                None if strategy is None else codec.pack(strategy),
                *(job.noise_key, job.origin, job.unsettled),
            ),
        )

    def set_origin(self, name: str, epoch: int, origin: Origin) -> None:
        self._db.execute(
            "UPDATE jobs SET origin = ?, unsettled = ? WHERE job = ?", (origin.digest, epoch, name)
        )

    def set_plan(self, epoch: int, plan: Plan, entered: EntryFacts | None) -> None:
        self._db.execute(
            "UPDATE jobs SET plan = ?, unsettled = NULLIF(unsettled, ?),"
            " noise_key = COALESCE(noise_key, ?) WHERE job = ?",
            (codec.pack(plan), epoch, plan.noise_key, plan.job),
        )
        if entered is not None:
            self.append_entry(entered)

    def set_end(self, epoch: int, end: JobEnd) -> None:
        self._db.execute(
            "UPDATE jobs SET phase = ?, reason = ?, ended = ?,"
            " unsettled = NULLIF(unsettled, ?) WHERE job = ?",
            (end.phase, end.reason, end.at, epoch, end.job),
        )

    def set_forgotten(self, name: str) -> None:
        self._db.execute("UPDATE jobs SET forgotten = 1 WHERE job = ?", (name,))

    def _job_on_model(
        self, job: str, phase: str, created: str, strategy: bytes | None
    ) -> JobOnModel:
        rounds, first, last = self._db.execute(
            "SELECT COUNT(*), MIN(version), MAX(version) FROM versions WHERE job = ?", (job,)
        ).fetchone()
        return JobOnModel(
            job=job,
            running=phase == "running",
            submitted=created,
            strategy=_strategy_of(strategy),
            rounds=rounds,
            first_version=first,
            last_version=last,
        )


def _strategy_of(packed: bytes | None) -> Strategy | None:
    return None if packed is None else codec.unpack(Strategy, packed)
