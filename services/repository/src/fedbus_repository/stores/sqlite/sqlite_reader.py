# ruff: noqa: D102 - the methods are documented in StoreReader
"""All that an embedded store holds, read from its folder while a repository may use it."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from fedbus.blobs.files import FileBlob
from fedbus.errors import StoreError
from fedbus_repository.stores.dumped_records import DumpedRecord, UnreadableRecord
from fedbus_repository.stores.files import find_blob, stored_blobs
from fedbus_repository.stores.sqlite.database import DATABASE, lock_folder
from fedbus_repository.stores.sqlite.database_faults import error_of_sqlite
from fedbus_repository.stores.sqlite.dumped_rows import DumpedRows
from fedbus_repository.stores.sqlite.tables import SCHEMA

_RESTORE: Final = "restore the store from a backup"
MAX_HELD_BLOBS: Final = 200
"""Blobs that stay open, so that retention cannot take them away from the reader."""
_FULL_DISK_CODES: Final = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
}


class SqliteReader:
    """A `StoreReader` of a folder; one transaction, so that all records are of one moment.

    `exclusive` keeps repositories from using the store meanwhile.

    Raises:
        StoreError: The folder has no store, another version of fedbus wrote it, or the file is not
            a database.
    """

    def __init__(self, folder: Path, *, name: str = DATABASE, exclusive: bool = False) -> None:
        self._folder, self._path = folder, folder / name
        if not self._path.is_file():
            raise StoreError(f"no store in {folder}: expected a file {name}")
        self._lock_fd = lock_folder(folder / "lock") if exclusive else -1
        try:
            self._db = self._connect()
            self._held = self._hold()
        except StoreError:
            self._unlock()
            raise

    @property
    def place(self) -> str:
        return str(self._folder)

    def records(self) -> Iterator[DumpedRecord | UnreadableRecord]:
        return DumpedRows(self._db, self._path).records()

    def damage(self) -> Iterator[str]:
        try:
            yield from self._integrity_faults("100")
        except sqlite3.Error:  # it ends at such a page: the tables are checked one by one
            for (table,) in self._db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'"):
                try:
                    yield from self._integrity_faults(table)
                except sqlite3.Error as error:
                    yield f"{self._path}: the table {table} or an index of it: {error}; {_RESTORE}"

    def _integrity_faults(self, what: str) -> Iterator[str]:
        for (found,) in self._db.execute(f"PRAGMA integrity_check({what})"):
            if found != "ok":
                yield f"{self._path}: {' '.join(found.split())}; {_RESTORE}"

    def blobs(self) -> Iterator[tuple[str, int]]:
        for path in sorted(stored_blobs(self._folder)):
            with suppress(FileNotFoundError):  # retention deleted it meanwhile
                yield path.name, path.stat().st_size

    def open_blob(self, digest: str) -> FileBlob | None:
        if digest in self._held:
            return self._held[digest]
        return find_blob(self._folder, digest)

    def refresh(self) -> None:
        self._db.rollback()
        self._begin(self._db)
        self._held = self._hold()

    def close(self) -> None:
        self._db.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _connect(self) -> sqlite3.Connection:
        # A store on a read-only disk, whose WAL cannot be opened, is read without it.
        writable = os.access(self._folder, os.W_OK)
        try:
            db, found = self._begun("" if writable or self._wal_exists() else "&immutable=1")
        except sqlite3.Error as error:
            if error.sqlite_errorcode & 0xFF not in _FULL_DISK_CODES or self._wal_exists():
                raise error_of_sqlite("reading the store", self._path, error) from error
            # The disk is too full for the file beside the WAL, which a running repository has made
            # already: no repository uses the store, and none may begin to.
            try:
                if self._lock_fd < 0:
                    self._lock_fd = lock_folder(self._folder / "lock")
                db, found = self._begun("&immutable=1")
            except (OSError, sqlite3.Error, StoreError):
                raise error_of_sqlite("reading the store", self._path, error) from error
        if found != SCHEMA:
            db.close()
            raise StoreError(
                f"{self._path}: the tables are of schema {found}, not {SCHEMA}: start its"
                " repository once with this version of fedbus, which upgrades them"
            )
        return db

    def _begun(self, options: str) -> tuple[sqlite3.Connection, int]:
        """Connect and begin to read; return the schema of the tables as well."""
        uri = f"{self._path.absolute().as_uri()}?mode=ro{options}"
        db = sqlite3.connect(uri, uri=True, isolation_level=None)
        try:
            (found,) = db.execute("PRAGMA user_version").fetchone()
            self._begin(db)
        except sqlite3.Error:
            db.close()
            raise
        return db, found

    def _hold(self) -> dict[str, FileBlob]:
        """Open the blobs that retention may delete next: an open file keeps its content."""
        found: dict[str, FileBlob] = {}
        with suppress(sqlite3.Error):  # damaged tables are reported as their records are read
            rows = self._db.execute(
                "SELECT DISTINCT kept_blobs.digest FROM kept_blobs JOIN versions"
                " USING (model, version) WHERE NOT pinned LIMIT ?",
                (MAX_HELD_BLOBS,),
            )
            for (digest,) in rows:
                with suppress(StoreError):  # reported as it is read
                    if isinstance(digest, str) and (blob := find_blob(self._folder, digest)):
                        found[digest] = blob
        return found

    def _wal_exists(self) -> bool:
        wal = self._path.with_name(f"{self._path.name}-wal")
        return wal.exists() and wal.stat().st_size > 0

    def _begin(self, db: sqlite3.Connection) -> None:
        db.execute("BEGIN")
        # The snapshot begins with a read: of the first page, without which nothing can be read.
        db.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
