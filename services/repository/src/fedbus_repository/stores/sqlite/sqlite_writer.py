# ruff: noqa: D102 - the methods are documented in StoreWriter
"""A new embedded store that is filled from a dump.

Records are written to a database of another name, which is renamed at the end: until then no
repository uses what is not complete.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from fedbus.atomic_write import (
    atomic_write,
    os_errors_as_store_errors,
    sync_folder,
    temporary_path,
)
from fedbus.core.blob_io import BlobSource
from fedbus.errors import StoreError
from fedbus.wire.messages.model_trail import NameChange
from fedbus_repository.stores.document_records import StoredDocument
from fedbus_repository.stores.dumped_records import DumpedFile, DumpedJob, DumpedRecord
from fedbus_repository.stores.files import BlobFolder
from fedbus_repository.stores.ledger_records import EntryFacts
from fedbus_repository.stores.records import HistoryEntry, Lease, StoredConfiguration
from fedbus_repository.stores.sqlite.database import DATABASE, Database, lock_folder
from fedbus_repository.stores.sqlite.database_faults import COPY_NOTE
from fedbus_repository.stores.sqlite.sqlite_reader import SqliteReader
from fedbus_repository.stores.sqlite.sqlite_records import SqliteRecords
from fedbus_repository.stores.store_reader import copy_blob

UNFINISHED: Final = f"{DATABASE}.unfinished"


class SqliteWriter:
    """A `StoreWriter` of a folder; raises StoreError if it has a store, or is in use.

    A copy `of` the same source, which was interrupted, is continued.
    """

    def __init__(self, folder: Path, *, of: str) -> None:
        self._folder = folder
        if (folder / DATABASE).exists():
            whole = f", a whole copy of {of}" if (folder / COPY_NOTE).exists() else ""
            raise StoreError(
                f"{folder} has a store already{whole}; name a folder that is new or empty"
            )
        with os_errors_as_store_errors(folder, "preparing the new store"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_fd = lock_folder(folder / "lock")
        try:
            self._check_source(of)
            self._blobs = BlobFolder(folder)
        except StoreError:
            os.close(self._lock_fd)
            raise

    def _check_source(self, of: str) -> None:
        """Continue only a copy of the same source: other blobs here are not its own."""
        note = self._folder / COPY_NOTE
        with os_errors_as_store_errors(self._folder, "preparing the new store"):
            if note.exists():
                found = note.read_text(encoding="utf-8")
                if found != of:
                    raise StoreError(
                        f"{self._folder} has an unfinished copy of {found}; name another folder"
                    )
            own = {"lock", temporary_path(note).name}
            found_names = {each.name for each in self._folder.iterdir()}
            if not note.exists() and (strangers := sorted(found_names - own)):
                raise StoreError(
                    f"{self._folder}: expected a new or empty folder; it has"
                    f" {', '.join(strangers[:3])}"
                )
            atomic_write(note, of.encode(), durable=True)

    def add_records(self, records: Iterable[DumpedRecord]) -> None:
        with os_errors_as_store_errors(self._folder, "preparing the new store"):
            for name in (UNFINISHED, f"{UNFINISHED}-wal", f"{UNFINISHED}-shm"):
                (self._folder / name).unlink(missing_ok=True)
        database = Database(self._folder, name=UNFINISHED, owns_folder=False)
        try:
            with database.writing("writing records") as found:
                for record in records:
                    _insert(found, record)
        finally:
            database.close()  # folds the WAL into the database

    def has_blob(self, digest: str, size: int) -> bool:
        source = self._blobs.open(digest)
        return source is not None and source.size == size

    def add_blob(self, digest: str, source: BlobSource) -> None:
        copy_blob(digest, source, self._blobs)

    def reader(self) -> SqliteReader:
        return SqliteReader(self._folder, name=UNFINISHED)

    def finish(self) -> None:
        with os_errors_as_store_errors(self._folder, "finishing the new store"):
            (self._folder / UNFINISHED).replace(self._folder / DATABASE)
            sync_folder(self._folder)
            (self._folder / COPY_NOTE).unlink()

    def close(self) -> None:
        self._blobs.close()
        with suppress(OSError):
            os.close(self._lock_fd)


def _insert(found: SqliteRecords, record: DumpedRecord) -> None:
    match record:
        case Lease():
            found.replace_lease(record)
        case DumpedFile(digest=digest):
            found.insert_file(digest)
        case DumpedJob():
            found.insert_dumped_job(record)
        case HistoryEntry(version=version, record=made_by):
            found.insert_version(version, made_by, ())
            if not version.kept:
                found.mark_deleted(version)
        case EntryFacts():
            found.append_entry(record)
        case StoredConfiguration():
            found.insert_configuration(record)
        case StoredDocument():
            found.put_document(record)
        case NameChange():
            found.append_name_change(record)
