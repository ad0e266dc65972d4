"""The rows of the embedded store, as the values they hold.

Records and plans are kept as they crossed the wire (msgpack, read through the codec), so an old
record stays readable for as long as an old message does. Metrics are JSON, for people with a SQL
prompt.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef
from fedbus.wire.identifiers import Metrics, Moment
from fedbus.wire.round_records import Plan, RoundRecord
from fedbus_repository.stores.records import HistoryEntry, JobEnd, Lease, Origin, StoredJob, Version
from fedbus_repository.stores.rules import Counted, EarlierSubmission, merged

_VERSION = (
    "model, version, parent, digest, size, spec, spec_size, job, round, contributors, metrics,"
    " scored, pinned, kept, created"
)
_COLUMNS = _VERSION.count(",") + 1

ENDED_LISTED = 50
"""Jobs that have ended, and that a new controller announces again."""


def lease(db: sqlite3.Connection) -> Lease | None:
    """Read who acts."""
    row = db.execute("SELECT holder, incarnation, epoch FROM lease").fetchone()
    return None if row is None else Lease(holder=row[0], incarnation=row[1], epoch=row[2])


def job(db: sqlite3.Connection, name: str) -> StoredJob | None:
    """Read all there is about a job."""
    row = db.execute(
        "SELECT model, file, secret, phase, reason, base, plan, created, ended, forgotten FROM jobs"
        " WHERE job = ?",
        (name,),
    ).fetchone()
    if row is None:
        return None
    model, file, secret, phase, reason, base_version, plan, *rest = row
    created, ended, forgotten = rest
    over = None if phase == "running" else JobEnd(job=name, phase=phase, reason=reason, at=ended)
    base = version(db, model, base_version)
    assert base is not None  # noqa: S101 - versions are kept for ever
    last = _one(db, "job = ? ORDER BY round DESC LIMIT 1", name)
    return StoredJob(
        job=name,
        model=model,
        file=file,
        secret=secret,
        ended=over,
        base=base,
        latest=last or base,
        rounds=0 if last is None else last.round,
        plan=None if plan is None else codec.unpack(Plan, plan),
        submitted=created,
        forgotten=bool(forgotten),
    )


def of_origin(db: sqlite3.Connection, digest: str) -> EarlierSubmission | None:
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


def unsettle(db: sqlite3.Connection, name: str, epoch: int, origin: Origin) -> None:
    """Write whose submission a job is, and who has yet to acknowledge it at the broker."""
    db.execute(
        "UPDATE jobs SET origin = ?, unsettled = ? WHERE job = ?", (origin.digest, epoch, name)
    )


def running(db: sqlite3.Connection, model: str) -> str | None:
    """Name the job that trains a model."""
    row = db.execute(
        "SELECT job FROM jobs WHERE model = ? AND phase = 'running'", (model,)
    ).fetchone()
    return None if row is None else str(row[0])


def list_jobs(db: sqlite3.Connection) -> tuple[str, ...]:
    """Name the jobs that run, then the `ENDED_LISTED` that were begun last of those that ended."""
    running = db.execute("SELECT job FROM jobs WHERE phase = 'running' ORDER BY job LIMIT 9000")
    ended = db.execute(
        "SELECT job FROM jobs WHERE phase != 'running' AND NOT forgotten ORDER BY rowid DESC"
        " LIMIT ?",
        (ENDED_LISTED,),
    )
    return tuple(name for (name,) in [*running, *ended])


def version(db: sqlite3.Connection, model: str, number: int) -> Version | None:
    """Read one version."""
    return _one(db, "model = ? AND version = ?", model, number)


def latest(db: sqlite3.Connection, model: str) -> Version | None:
    """Read the latest version of a model."""
    return _one(db, "model = ? ORDER BY version DESC LIMIT 1", model)


def latest_of_all(db: sqlite3.Connection) -> tuple[Version, ...]:
    """Read the latest version of every model, by name."""
    newest_of_each = "SELECT model, MAX(version) FROM versions GROUP BY model"
    return _some(db, f"(model, version) IN ({newest_of_each}) ORDER BY model")


def newest(
    db: sqlite3.Connection, model: str, limit: int, before: int | None = None
) -> tuple[Version, ...]:
    """Read a model's trail from its end, or from below a version; newest first."""
    if before is None:
        return _some(db, "model = ? ORDER BY version DESC LIMIT ?", model, limit)
    return _some(
        db, "model = ? AND version < ? ORDER BY version DESC LIMIT ?", model, before, limit
    )


def kept(db: sqlite3.Connection, model: str) -> tuple[Version, ...]:
    """Read the versions of a model that still have their weights."""
    return _some(db, "model = ? AND kept = 1 ORDER BY version DESC", model)


def committed(db: sqlite3.Connection, name: str, number: int) -> HistoryEntry | None:
    """Read a job's round."""
    return next(_rounds(db, "job = ? AND round = ?", name, number), None)


def trail(db: sqlite3.Connection) -> Iterator[HistoryEntry]:
    """Read everything, by model and version."""
    return _rounds(db, "1 ORDER BY model, version")


def counted(db: sqlite3.Connection, name: str, task: int) -> set[Counted]:
    """Read whose updates for a task count."""
    rows = db.execute("SELECT agent FROM contributors WHERE job = ? AND task = ?", (name, task))
    return {(agent, task) for (agent,) in rows}


def named(db: sqlite3.Connection) -> set[str]:
    """Read the digests of all blobs that are to be kept."""
    rows = db.execute("SELECT digest FROM versions WHERE kept = 1 UNION SELECT digest FROM files")
    return {digest for (digest,) in rows}


def unnamed(db: sqlite3.Connection, digests: Iterable[str]) -> list[str]:
    """Pick the digests that nothing names."""
    question = (
        "SELECT 1 FROM versions WHERE digest = ? AND kept = 1"
        " UNION ALL SELECT 1 FROM files WHERE digest = ? LIMIT 1"
    )
    return [each for each in digests if db.execute(question, (each, each)).fetchone() is None]


def insert_job(  # noqa: PLR0913, PLR0917 - a row has its columns
    db: sqlite3.Connection, name: str, base: Version, file: bytes, secret: bytes, at: Moment
) -> None:
    """Write a job that trains a model from its latest version on."""
    digest = hashlib.sha256(file).hexdigest()
    db.execute(
        "INSERT INTO jobs (job, model, file, digest, secret, base, created)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (name, base.model, file, digest, secret, base.version, at),
    )


def insert_round(
    db: sqlite3.Connection, record: RoundRecord, weights: BlobRef, at: Moment
) -> Version:
    """Write a round, its version and its contributors."""
    made = Version(
        model=record.model,
        version=record.parent + 1,
        parent=record.parent,
        weights=weights,
        spec=record.spec,
        job=record.job,
        round=record.round,
        contributors=len(record.contributors),
        metrics=record.metrics,
        at=at,
    )
    _insert(db, made, codec.pack(record))
    db.executemany(
        "INSERT INTO contributors (job, task, agent) VALUES (?, ?, ?)",
        ((record.job, each.task, each.agent) for each in record.contributors),
    )
    return made


def insert_pushed(
    db: sqlite3.Connection, model: str, weights: BlobRef, named: tuple[BlobRef, ...], at: Moment
) -> Version:
    """Write a version that no round made; `named` is its spec, and the files that names."""
    parent = latest(db, model)
    made = Version(
        model=model,
        version=1 if parent is None else parent.version + 1,
        parent=None if parent is None else parent.version,
        weights=weights,
        spec=named[0],
        pinned=True,
        at=at,
    )
    _insert(db, made, None)
    db.executemany("INSERT OR IGNORE INTO files VALUES (?)", ((file.digest,) for file in named))
    return made


def forget_weights(db: sqlite3.Connection, versions: Iterable[Version]) -> None:
    """Write down that the weights of versions are deleted."""
    db.executemany(
        "UPDATE versions SET kept = 0 WHERE model = ? AND version = ?",
        ((old.model, old.version) for old in versions),
    )


def merge_score(db: sqlite3.Connection, name: str, number: int, score: Metrics) -> Version | None:
    """Write a score beside a round's own metrics."""
    found = _one(db, "job = ? AND round = ?", name, number)
    if found is None:
        return None
    scored = replace(found, metrics=merged(found.metrics, score), scored=True)
    db.execute(
        "UPDATE versions SET metrics = ?, scored = 1 WHERE job = ? AND round = ?",
        (json.dumps(scored.metrics), name, number),
    )
    return scored


def _insert(db: sqlite3.Connection, made: Version, record: bytes | None) -> None:
    db.execute(
        f"INSERT INTO versions ({_VERSION}, record) VALUES ({'?, ' * _COLUMNS} ?)",  # noqa: S608 - constants
        (
            *(made.model, made.version, made.parent),
            *(made.weights.digest, made.weights.size, made.spec.digest, made.spec.size),
            *(made.job, made.round, made.contributors, json.dumps(made.metrics)),
            *(made.scored, made.pinned, made.kept, made.at, record),
        ),
    )


def _one(db: sqlite3.Connection, where: str, *values: object) -> Version | None:
    return next(iter(_some(db, where, *values)), None)


def _some(db: sqlite3.Connection, where: str, *values: object) -> tuple[Version, ...]:
    found = db.execute(f"SELECT {_VERSION} FROM versions WHERE {where}", values)  # noqa: S608 - constants
    return tuple(_version_of(row) for row in found)


def _rounds(db: sqlite3.Connection, where: str, *values: object) -> Iterator[HistoryEntry]:
    sql = f"SELECT {_VERSION}, record FROM versions WHERE {where}"  # noqa: S608 - constants
    for *version_row, record in db.execute(sql, values):
        yield HistoryEntry(
            version=_version_of(version_row),
            record=None if record is None else codec.unpack(RoundRecord, record),
        )


def _version_of(row: Sequence[Any]) -> Version:
    model, number, parent, digest, size, spec, spec_size, *rest = row
    job_name, round_number, contributors, metrics, scored, pinned, is_kept, at = rest
    return Version(
        model=model,
        version=number,
        parent=parent,
        weights=BlobRef(digest=digest, size=size),
        spec=BlobRef(digest=spec, size=spec_size),
        job=job_name,
        round=round_number,
        contributors=contributors,
        metrics=json.loads(metrics),
        scored=bool(scored),
        pinned=bool(pinned),
        kept=bool(is_kept),
        at=at,
    )
