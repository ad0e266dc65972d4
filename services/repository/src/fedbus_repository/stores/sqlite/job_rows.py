"""SQL for the lease and the jobs: rows to records and back.

Plans are stored in their wire encoding (msgpack) and read through the codec, so an old plan stays
readable for as long as an old message does.
"""

import hashlib
import sqlite3

from fedbus.wire import codec
from fedbus.wire.identifiers import Timestamp
from fedbus.wire.round_records import Plan
from fedbus.wire.strategies import Strategy
from fedbus_repository.stores.records import JobEnd, Lease, Origin, StoredJob, Version
from fedbus_repository.stores.rules import EarlierSubmission
from fedbus_repository.stores.sqlite import version_rows

MAX_LISTED_ENDED_JOBS = 50
"""Ended jobs that a new controller announces again."""


def lease(db: sqlite3.Connection) -> Lease | None:
    """Read the current lease."""
    row = db.execute("SELECT holder, incarnation, epoch FROM lease").fetchone()
    return None if row is None else Lease(holder=row[0], incarnation=row[1], epoch=row[2])


def replace_lease(db: sqlite3.Connection, new: Lease) -> Lease:
    """Write the lease and return it."""
    row = (new.holder, new.incarnation, new.epoch)
    db.execute("REPLACE INTO lease VALUES (1, ?, ?, ?)", row)
    return new


def job(db: sqlite3.Connection, name: str) -> StoredJob | None:
    """Read a job with its base and its latest version."""
    row = db.execute(
        "SELECT model, file, secret, phase, reason, base, plan, created, ended, continues,"
        " forgotten, strategy, noise_key FROM jobs WHERE job = ?",
        (name,),
    ).fetchone()
    if row is None:
        return None
    model, file, secret, phase, reason, base_version, plan, created, ended, *rest = row
    continues, forgotten, strategy, noise_key = rest
    end = None if phase == "running" else JobEnd(job=name, phase=phase, reason=reason, at=ended)
    base = version_rows.version(db, model, base_version)
    assert base is not None  # noqa: S101 - version rows are never deleted
    last = version_rows.last_of_job(db, name)
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
        strategy=None if strategy is None else codec.unpack(Strategy, strategy),
        noise_key=noise_key,
    )


def newest_of_origin(db: sqlite3.Connection, digest: str) -> EarlierSubmission | None:
    """Read the newest job of an origin."""
    row = db.execute(
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


def set_origin(db: sqlite3.Connection, name: str, epoch: int, origin: Origin) -> None:
    """Write a job's origin, and the epoch whose controller has yet to acknowledge the request."""
    db.execute(
        "UPDATE jobs SET origin = ?, unsettled = ? WHERE job = ?", (origin.digest, epoch, name)
    )


def running_job(db: sqlite3.Connection, model: str) -> str | None:
    """Return the id of the job that trains a model."""
    row = db.execute(
        "SELECT job FROM jobs WHERE model = ? AND phase = 'running'", (model,)
    ).fetchone()
    return None if row is None else str(row[0])


def list_jobs(db: sqlite3.Connection) -> tuple[str, ...]:
    """Return the running jobs, then the newest ended ones, `MAX_LISTED_ENDED_JOBS` at most."""
    running = db.execute("SELECT job FROM jobs WHERE phase = 'running' ORDER BY job LIMIT 9000")
    ended = db.execute(
        "SELECT job FROM jobs WHERE phase != 'running' AND NOT forgotten ORDER BY rowid DESC"
        " LIMIT ?",
        (MAX_LISTED_ENDED_JOBS,),
    )
    return tuple(name for (name,) in [*running, *ended])


def insert_job(  # noqa: PLR0913, PLR0917 - a row has its columns
    db: sqlite3.Connection, name: str, base: Version, file: bytes, secret: bytes, at: Timestamp
) -> None:
    """Write a job that trains a model from `base`, its latest version."""
    digest = hashlib.sha256(file).hexdigest()
    db.execute(
        "INSERT INTO jobs (job, model, file, digest, secret, base, created)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (name, base.model, file, digest, secret, base.version, at),
    )


def set_continues_state(db: sqlite3.Connection, name: str) -> None:
    """Write that a job's first round continues the state of its base."""
    db.execute("UPDATE jobs SET continues = 1 WHERE job = ?", (name,))


def set_strategy(db: sqlite3.Connection, name: str, strategy: Strategy) -> None:
    """Write the strategy that a job was submitted with."""
    db.execute("UPDATE jobs SET strategy = ? WHERE job = ?", (codec.pack(strategy), name))


def set_plan(db: sqlite3.Connection, epoch: int, plan: Plan) -> None:
    """Write a job's plan; a request that was submitted in this epoch is settled by it.

    The first noise key stays that of the job.
    """
    db.execute(
        "UPDATE jobs SET plan = ?, unsettled = NULLIF(unsettled, ?),"
        " noise_key = COALESCE(noise_key, ?) WHERE job = ?",
        (codec.pack(plan), epoch, plan.noise_key, plan.job),
    )


def set_end(db: sqlite3.Connection, epoch: int, end: JobEnd) -> None:
    """Write a job's end; a request that was submitted in this epoch is settled by it."""
    db.execute(
        "UPDATE jobs SET phase = ?, reason = ?, ended = ?,"
        " unsettled = NULLIF(unsettled, ?) WHERE job = ?",
        (end.phase, end.reason, end.at, epoch, end.job),
    )


def set_forgotten(db: sqlite3.Connection, name: str) -> None:
    """Write that a job is no longer listed."""
    db.execute("UPDATE jobs SET forgotten = 1 WHERE job = ?", (name,))
