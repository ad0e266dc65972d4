"""SQL for versions, rounds and blob references: rows to records and back.

Round records are stored in their wire encoding (msgpack) and read through the codec, so an old
record stays readable for as long as an old message does. What a list of versions shows of them is
stored again in columns, so that it reads no record. Metrics are JSON, readable at a SQL prompt.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from fedbus.energy.energy_sums import total_energy
from fedbus.training.options import without_training_metrics
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef, CompressedBlob, EncryptedVersion
from fedbus.wire.energy import EnergyUsed
from fedbus.wire.identifiers import Metrics, Timestamp
from fedbus.wire.messages.model_requests import Derivation, PushModel
from fedbus.wire.privacy import PrivacySpent
from fedbus.wire.round_records import RoundRecord, public_record
from fedbus.wire.strategies import Strategy, StrategyState, hides_agents
from fedbus_repository.stores.commit_rules import CountedUpdate
from fedbus_repository.stores.derived_versions import derived_version
from fedbus_repository.stores.records import HistoryEntry, Version
from fedbus_repository.stores.rules import merge_metrics

_VERSION = (
    "model, version, parent, digest, size, spec, spec_size, job, round, contributors, metrics,"
    " scored, pinned, kept, strategy, state, privacy, encryption, thin, derived, energy, created"
)
_COLUMNS = _VERSION.count(",") + 1
_PACKED: Final = {
    "strategy": Strategy,
    "state": StrategyState,
    "privacy": PrivacySpent,
    "encryption": EncryptedVersion,
    "thin": CompressedBlob,
    "derived": Derivation,
    "energy": EnergyUsed,
}
"""Columns in the wire encoding, in their order; they are fields of `Version`."""


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


def last_of_job(db: sqlite3.Connection, job: str) -> Version | None:
    """Read the version of a job's last committed round."""
    return _one(db, "job = ? ORDER BY round DESC LIMIT 1", job)


def newest(
    db: sqlite3.Connection, model: str, limit: int, before: int | None = None
) -> tuple[Version, ...]:
    """Read at most `limit` versions of a model below `before`, newest first."""
    if before is None:
        return _some(db, "model = ? ORDER BY version DESC LIMIT ?", model, limit)
    return _some(
        db, "model = ? AND version < ? ORDER BY version DESC LIMIT ?", model, before, limit
    )


def with_weights(db: sqlite3.Connection, model: str) -> tuple[Version, ...]:
    """Read the versions of a model that still have their weights, newest first."""
    return _some(db, "model = ? AND kept = 1 ORDER BY version DESC", model)


def committed_round(db: sqlite3.Connection, job: str, number: int) -> HistoryEntry | None:
    """Read a committed round of a job."""
    return next(_entries(db, "job = ? AND round = ?", job, number), None)


def history(db: sqlite3.Connection) -> Iterator[HistoryEntry]:
    """Read every version, by model and version."""
    return _entries(db, "1 ORDER BY model, version")


def counted_updates(db: sqlite3.Connection, job: str, task: int) -> set[CountedUpdate]:
    """Read which updates for a task are part of a committed round."""
    rows = db.execute("SELECT agent FROM contributors WHERE job = ? AND task = ?", (job, task))
    return {(agent, task) for (agent,) in rows}


def referenced_digests(db: sqlite3.Connection) -> set[str]:
    """Read the digests of all blobs that a record references."""
    rows = db.execute("SELECT digest FROM kept_blobs UNION SELECT digest FROM files")
    return {digest for (digest,) in rows}


def unreferenced(db: sqlite3.Connection, digests: Iterable[str]) -> list[str]:
    """Return those digests that no record references."""
    query = (
        "SELECT 1 FROM kept_blobs WHERE digest = :digest"
        " UNION ALL SELECT 1 FROM files WHERE digest = :digest LIMIT 1"
    )
    return [each for each in digests if db.execute(query, {"digest": each}).fetchone() is None]


def insert_round(
    db: sqlite3.Connection, record: RoundRecord, weights: BlobRef, at: Timestamp
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
        metrics=public_record(record).metrics,
        strategy=record.strategy,
        state=record.state,
        privacy=record.privacy,
        encryption=record.encryption,
        thin=record.thin,
        energy=record.energy,
        at=at,
    )
    _insert(db, made, codec.pack(record))
    db.executemany(
        "INSERT INTO contributors (job, task, agent) VALUES (?, ?, ?)",
        ((record.job, each.task, each.agent) for each in record.contributors),
    )
    return made


def last_pushed(db: sqlite3.Connection, model: str) -> int:
    """Return the last version whose weights were pushed, not trained or derived; 0: there is none.

    What jobs have spent on a model counts from it.
    """
    (number,) = db.execute(
        "SELECT MAX(version) FROM versions WHERE model = ? AND job IS NULL AND derived IS NULL",
        (model,),
    ).fetchone()
    return number or 0


def insert_pushed(
    db: sqlite3.Connection, message: PushModel, files: tuple[BlobRef, ...], at: Timestamp
) -> Version:
    """Write a version that no round made; `files` are its spec and the files of the spec."""
    model, derived = message.model, message.derived
    parent = latest(db, model)
    made = Version(
        model=model,
        version=1 if parent is None else parent.version + 1,
        parent=None if parent is None else parent.version,
        weights=message.weights,
        spec=files[0],
        pinned=True,
        encryption=message.encryption,
        derived=derived,
        at=at,
    )
    made = derived_version(made, None if derived is None else version(db, model, derived.version))
    _insert(db, made, None)
    db.executemany("INSERT OR IGNORE INTO files VALUES (?)", ((file.digest,) for file in files))
    return made


def mark_deleted(db: sqlite3.Connection, versions: Iterable[Version]) -> None:
    """Write that the blobs of versions are deleted."""
    numbers = [(old.model, old.version) for old in versions]
    db.executemany("UPDATE versions SET kept = 0 WHERE model = ? AND version = ?", numbers)
    db.executemany("DELETE FROM kept_blobs WHERE model = ? AND version = ?", numbers)


def merge_evaluation(
    db: sqlite3.Connection,
    job: str,
    number: int,
    evaluation: Metrics,
    energy: EnergyUsed | None,
) -> Version | None:
    """Merge held-out metrics into the metrics of a round's version, and add evaluators' energy.

    The same evaluation may come twice, so it is added to that of the round's record. Metrics of
    training are left out if the job hides its agents: ε does not cover them.
    """
    entry = next(_entries(db, "job = ? AND round = ?", job, number), None)
    if entry is None or entry.record is None:
        return None
    found = entry.version
    if hides_agents(found.strategy) or found.privacy is not None:
        evaluation = without_training_metrics(evaluation)
    evaluated = replace(
        found,
        metrics=merge_metrics(found.metrics, evaluation),
        evaluated=True,
        energy=total_energy((entry.record.energy, energy)),
    )
    packed = None if evaluated.energy is None else codec.pack(evaluated.energy)
    db.execute(
        "UPDATE versions SET metrics = ?, scored = 1, energy = ? WHERE job = ? AND round = ?",
        (json.dumps(evaluated.metrics), packed, job, number),
    )
    return evaluated


def energy_of_job(db: sqlite3.Connection, job: str) -> EnergyUsed | None:
    """Return what the rounds of a job, and their evaluations, have used; None: nothing is known."""
    found = db.execute("SELECT energy FROM versions WHERE job = ? AND energy NOT NULL", (job,))
    return total_energy(codec.unpack(EnergyUsed, packed) for (packed,) in found)


def _insert(db: sqlite3.Connection, made: Version, record: bytes | None) -> None:
    db.execute(
        f"INSERT INTO versions ({_VERSION}, record) VALUES ({'?, ' * _COLUMNS} ?)",  # noqa: S608 - constants
        (
            *(made.model, made.version, made.parent),
            *(made.weights.digest, made.weights.size, made.spec.digest, made.spec.size),
            *(made.job, made.round, made.contributors, json.dumps(made.metrics)),
            *(made.evaluated, made.pinned, made.kept),
            *(None if part is None else codec.pack(part) for part in _parts(made)),
            *(made.at, record),
        ),
    )
    db.executemany(
        "INSERT INTO kept_blobs VALUES (?, ?, ?)",
        ((digest, made.model, made.version) for digest in {blob.digest for blob in made.blobs}),
    )


def _parts(made: Version) -> list[object]:
    return [getattr(made, column) for column in _PACKED]


def _one(db: sqlite3.Connection, where: str, *values: object) -> Version | None:
    return next(iter(_some(db, where, *values)), None)


def _some(db: sqlite3.Connection, where: str, *values: object) -> tuple[Version, ...]:
    found = db.execute(f"SELECT {_VERSION} FROM versions WHERE {where}", values)  # noqa: S608 - constants
    return tuple(_version_of(row) for row in found)


def _entries(db: sqlite3.Connection, where: str, *values: object) -> Iterator[HistoryEntry]:
    sql = f"SELECT {_VERSION}, record FROM versions WHERE {where}"  # noqa: S608 - constants
    for *version_row, record in db.execute(sql, values):
        yield HistoryEntry(
            version=_version_of(version_row),
            record=None if record is None else codec.unpack(RoundRecord, record),
        )


def _version_of(row: Sequence[Any]) -> Version:
    model, number, parent, digest, size, spec, spec_size, *rest = row
    job, round_number, contributors, metrics, evaluated, pinned, kept, *parts, at = rest
    return Version(
        model=model,
        version=number,
        parent=parent,
        weights=BlobRef(digest=digest, size=size),
        spec=BlobRef(digest=spec, size=spec_size),
        job=job,
        round=round_number,
        contributors=contributors,
        metrics=json.loads(metrics),
        evaluated=bool(evaluated),
        pinned=bool(pinned),
        kept=bool(kept),
        at=at,
        **{
            column: codec.unpack(kind, part)
            for (column, kind), part in zip(_PACKED.items(), parts, strict=True)
            if part is not None
        },
    )
