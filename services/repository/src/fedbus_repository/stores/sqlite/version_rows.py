# ruff: noqa: D102 - the methods are documented in VersionRecords
"""SQL for versions, rounds and blob references: rows to records and back.

Round records are stored in their wire encoding (msgpack) and read through the codec, so an old
record stays readable for as long as an old message does. What a list of versions shows of them is
stored again in columns, so that it reads no record. Metrics are JSON, readable at a SQL prompt.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef, CompressedBlob, EncryptedVersion
from fedbus.wire.energy import EnergyUsed
from fedbus.wire.messages.model_requests import Derivation
from fedbus.wire.privacy import PrivacySpent
from fedbus.wire.round_records import RoundRecord
from fedbus.wire.strategies import Strategy, StrategyState
from fedbus_repository.stores.commit_rules import CountedUpdate
from fedbus_repository.stores.lineage import Branch
from fedbus_repository.stores.records import HistoryEntry, Version

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


class VersionRows:
    """`VersionRecords` in SQLite."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def version(self, model: str, number: int) -> Version | None:
        return self._one("model = ? AND version = ?", model, number)

    def latest(self, model: str) -> Version | None:
        return self._one("model = ? ORDER BY version DESC LIMIT 1", model)

    def models(self) -> tuple[str, ...]:
        rows = self._db.execute("SELECT DISTINCT model FROM versions ORDER BY model")
        return tuple(model for (model,) in rows)

    def latest_of_all(self) -> tuple[Version, ...]:
        newest_of_each = "SELECT model, MAX(version) FROM versions GROUP BY model"
        return self._some(f"(model, version) IN ({newest_of_each}) ORDER BY model")

    def last_of_job(self, job: str) -> Version | None:
        return self._one("job = ? ORDER BY round DESC LIMIT 1", job)

    def newest(self, model: str, limit: int, before: int | None = None) -> tuple[Version, ...]:
        if before is None:
            return self._some("model = ? ORDER BY version DESC LIMIT ?", model, limit)
        return self._some(
            "model = ? AND version < ? ORDER BY version DESC LIMIT ?", model, before, limit
        )

    def with_weights(self, model: str) -> tuple[Version, ...]:
        return self._some("model = ? AND kept = 1 ORDER BY version DESC", model)

    def committed_round(self, job: str, number: int) -> HistoryEntry | None:
        return next(self._rounds("job = ? AND round = ?", job, number), None)

    def stored_version(self, model: str, number: int) -> HistoryEntry | None:
        """Read one version with the record of its round."""
        return next(self._rounds("model = ? AND version = ?", model, number), None)

    def history(self) -> Iterator[HistoryEntry]:
        return self._rounds("1 ORDER BY model, version")

    def counted_updates(self, job: str, task: int) -> set[CountedUpdate]:
        rows = self._db.execute(
            "SELECT agent FROM contributors WHERE job = ? AND task = ?", (job, task)
        )
        return {(agent, task) for (agent,) in rows}

    def referenced_digests(self) -> set[str]:
        rows = self._db.execute(
            "SELECT digest FROM kept_blobs UNION SELECT digest FROM files"
            " UNION SELECT blob FROM documents WHERE blob IS NOT NULL"
        )
        return {digest for (digest,) in rows}

    def unreferenced(self, digests: Iterable[str]) -> list[str]:
        query = (
            "SELECT 1 FROM kept_blobs WHERE digest = :digest"
            " UNION ALL SELECT 1 FROM files WHERE digest = :digest"
            " UNION ALL SELECT 1 FROM documents WHERE blob = :digest LIMIT 1"
        )
        return [
            each for each in digests if self._db.execute(query, {"digest": each}).fetchone() is None
        ]

    def last_pushed(self, model: str) -> int:
        (number,) = self._db.execute(
            "SELECT MAX(version) FROM versions WHERE model = ? AND job IS NULL AND derived IS NULL",
            (model,),
        ).fetchone()
        return number or 0

    def versions(self, model: str, numbers: Sequence[int]) -> tuple[Version, ...]:
        marks = ", ".join("?" * len(numbers))
        return self._some(f"model = ? AND version IN ({marks}) ORDER BY version", model, *numbers)

    def branches(self, model: str) -> list[Branch]:
        found = self._db.execute(
            "SELECT version, base FROM versions WHERE model = ? AND base IS NOT version - 1"
            " ORDER BY version",
            (model,),
        )
        return [Branch(first, base) for first, base in found]

    def _one(self, where: str, *values: object) -> Version | None:
        return next(iter(self._some(where, *values)), None)

    def _some(self, where: str, *values: object) -> tuple[Version, ...]:
        found = self._db.execute(f"SELECT {_VERSION} FROM versions WHERE {where}", values)  # noqa: S608 - constants
        return tuple(_version_of(row) for row in found)

    def _rounds(self, where: str, *values: object) -> Iterator[HistoryEntry]:
        sql = f"SELECT {_VERSION}, record FROM versions WHERE {where}"  # noqa: S608 - constants
        for *version_row, record in self._db.execute(sql, values):
            yield HistoryEntry(
                version=_version_of(version_row),
                record=None if record is None else codec.unpack(RoundRecord, record),
            )

    def rounds_of(self, job: str, limit: int, before: int | None = None) -> tuple[Version, ...]:
        if before is None:
            return self._some("job = ? ORDER BY round DESC LIMIT ?", job, limit)
        return self._some("job = ? AND round < ? ORDER BY round DESC LIMIT ?", job, before, limit)

    def energy_of(self, job: str) -> Iterator[EnergyUsed]:
        found = self._db.execute(
            "SELECT energy FROM versions WHERE job = ? AND energy NOT NULL", (job,)
        )
        return (codec.unpack(EnergyUsed, packed) for (packed,) in found)

    def insert_version(
        self, made: Version, record: RoundRecord | None, files: tuple[BlobRef, ...]
    ) -> None:
        self._db.execute(
            f"INSERT INTO versions ({_VERSION}, base, record) VALUES ({'?, ' * _COLUMNS} ?, ?)",  # noqa: S608 - constants
            (
                *(made.model, made.version, made.parent),
                *(made.weights.digest, made.weights.size, made.spec.digest, made.spec.size),
                *(made.job, made.round, made.contributors, json.dumps(made.metrics)),
                *(made.evaluated, made.pinned, made.kept),
                *(_packed(getattr(made, column)) for column in _PACKED),
                *(made.at, made.base, _packed(record)),
            ),
        )
        own = {blob.digest for blob in made.blobs}
        kept = ((digest, made.model, made.version) for digest in own)
        self._db.executemany("INSERT INTO kept_blobs VALUES (?, ?, ?)", kept)
        for file in files:
            self.insert_file(file.digest)
        counted = () if record is None else record.contributors
        self._db.executemany(
            "INSERT INTO contributors (job, task, agent) VALUES (?, ?, ?)",
            ((made.job, each.task, each.agent) for each in counted),
        )

    def insert_file(self, digest: str) -> None:
        """Write that a blob is referenced permanently."""
        self._db.execute("INSERT OR IGNORE INTO files VALUES (?)", (digest,))

    def set_evaluation(self, evaluated: Version) -> None:
        metrics, energy = json.dumps(evaluated.metrics), _packed(evaluated.energy)
        self._db.execute(
            "UPDATE versions SET metrics = ?, scored = 1, energy = ?"
            " WHERE model = ? AND version = ?",
            (metrics, energy, evaluated.model, evaluated.version),
        )

    def mark_deleted(self, version: Version) -> None:
        number = (version.model, version.version)
        self._db.execute("UPDATE versions SET kept = 0 WHERE model = ? AND version = ?", number)
        self._db.execute("DELETE FROM kept_blobs WHERE model = ? AND version = ?", number)


def _packed(part: object) -> bytes | None:
    return None if part is None else codec.pack(part)


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
