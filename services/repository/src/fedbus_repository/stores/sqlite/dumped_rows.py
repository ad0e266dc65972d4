"""All records of an embedded store's tables, in the order of a dump; also of damaged tables.

A page of the file that is damaged hides what lies behind it. So the keys of a damaged table are
read from both ends of its rows and of its index, and each record by its key: what can be read is
read, and what cannot is named.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from fedbus.errors import FedbusError
from fedbus_repository.stores.damaged_records import of_type
from fedbus_repository.stores.dumped_records import DumpedFile, DumpedRecord, UnreadableRecord
from fedbus_repository.stores.ledger_records import EntryFacts
from fedbus_repository.stores.sqlite.sqlite_records import SqliteRecords

_DAMAGE: Final = (
    *(FedbusError, ValueError, TypeError, LookupError, AttributeError, AssertionError),
    *(sqlite3.Error, OverflowError),
)
"""What reading a damaged row raises."""


class _Table(NamedTuple):
    """A table of records: its key, its order, the name of a record, and how to read one."""

    name: str
    key: tuple[str, ...]
    order: tuple[str, ...]
    where: str
    read: Callable[..., DumpedRecord | None]


class DumpedRows:
    """The records of an open database, which `path` names in what is said of damaged tables."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db, self._path, self._found = db, path, SqliteRecords(db)

    def records(self) -> Iterator[DumpedRecord | UnreadableRecord]:
        """Read every record, in the order of a dump."""
        if (lease := self._read("the lease", self._found.lease)) is not None:
            yield lease
        for table in self._tables():
            yield from self._records_of(table)

    def _tables(self) -> Sequence[_Table]:
        found, by_number = self._found, ("model", "number")
        changes = "change {1} of the names of model {0!r}"
        by_version, versions = ("model", "version"), "version {1} of model {0!r}"
        by_entry, entries = ("job", "number"), "entry {1} of the ledger of job {0!r}"
        by_kind = ("kind", "name")
        return (
            _Table("jobs", ("job",), ("rowid",), "job {0!r}", found.dumped_job),
            _Table("name_changes", by_number, by_number, changes, found.name_change),
            _Table("versions", by_version, by_version, versions, found.stored_version),
            _Table("files", ("digest",), ("digest",), "the file {0!r}", _file_of),
            _Table("ledger", by_entry, by_entry, entries, self._entry),
            _Table(
                "configurations", ("id",), ("number",), "configuration {0!r}", found.configuration
            ),
            _Table("documents", by_kind, by_kind, "{0} {1!r}", found.document),
        )

    def _records_of(self, table: _Table) -> Iterator[DumpedRecord | UnreadableRecord]:
        keys, fault = self._keys(table)
        for key in keys:
            where = table.where.format(*key)
            record = self._read(where, partial(table.read, *key))
            yield record or UnreadableRecord(where, "the table and its index differ")
        if fault is not None:
            yield UnreadableRecord(f"a part of the table {table.name} in {self._path}", str(fault))

    def _keys(self, table: _Table) -> tuple[list[tuple[Any, ...]], sqlite3.Error | None]:
        """Read the keys of a table, and why some of them may be missing."""
        keys: list[tuple[Any, ...]] = []
        try:
            keys.extend(self._select(table, table.order, "ASC"))
        except sqlite3.Error as error:
            for order in (table.order, table.key, ("rowid",)):  # the last two: its index, its rows
                self._add_keys(keys, table, order)
            if table.order == table.key:
                with suppress(TypeError):  # a damaged key
                    keys.sort()
            return keys, error
        return keys, None

    def _add_keys(self, keys: list[tuple[Any, ...]], table: _Table, order: tuple[str, ...]) -> None:
        """Add the keys that reading from both ends finds, as far as it comes."""
        for direction in ("ASC", "DESC"):
            found: list[tuple[Any, ...]] = []
            with suppress(sqlite3.Error):
                found.extend(self._select(table, order, direction))
            known = set(keys)
            keys += [key for key in found[:: 1 if direction == "ASC" else -1] if key not in known]

    def _select(
        self, table: _Table, order: tuple[str, ...], direction: str
    ) -> Iterator[tuple[Any, ...]]:
        by = ", ".join(f"{column} {direction}" for column in order)
        return self._db.execute(
            f"SELECT {', '.join(table.key)} FROM {table.name} ORDER BY {by}"  # noqa: S608 - constants
        )

    def _entry(self, job: str, number: int) -> EntryFacts | None:
        return next(self._found.entries_after(job, number - 1), None)

    def _read(
        self, where: str, read: Callable[[], DumpedRecord | None]
    ) -> DumpedRecord | UnreadableRecord | None:
        try:
            return read()
        except _DAMAGE as error:
            return UnreadableRecord(where, f"{type(error).__name__}: {error}")


def _file_of(digest: object) -> DumpedFile:
    return DumpedFile(digest=of_type(str, digest, "its digest"))
