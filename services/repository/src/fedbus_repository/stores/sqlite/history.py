"""Read-only access to a store's folder, while a repository uses it or after its end."""

import sqlite3
from pathlib import Path

from fedbus.blobs.files import FileBlob
from fedbus.errors import StoreError
from fedbus_repository.stores.files import find_blob
from fedbus_repository.stores.ledger_records import EntryFacts
from fedbus_repository.stores.records import HistoryEntry, StoredJob
from fedbus_repository.stores.sqlite.database import DATABASE
from fedbus_repository.stores.sqlite.sqlite_records import SqliteRecords
from fedbus_repository.stores.sqlite.tables import SCHEMA


class SqliteHistory:
    """Reads what a `SqliteStore` wrote.

    Raises:
        StoreError: The folder has no store, or one that another version of fedbus wrote.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        path = folder / DATABASE
        if not path.exists():
            raise StoreError(f"no store in {folder}: expected a file {DATABASE}")
        self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        (found,) = self._db.execute("PRAGMA user_version").fetchone()
        if found != SCHEMA:
            self._db.close()
            raise StoreError(
                f"{path}: the tables are of schema {found}, not {SCHEMA}: start its repository"
                " once with this version of fedbus, which upgrades them"
            )
        self._records = SqliteRecords(self._db)

    def history(self) -> list[HistoryEntry]:
        """Read every version of every model, by model and version."""
        return list(self._records.history())

    def job(self, name: str) -> StoredJob | None:
        """Read a job."""
        return self._records.job(name)

    def ledger(self, job: str) -> list[EntryFacts]:
        """Read all entries of a job's ledger, in order."""
        return list(self._records.entries_after(job, 0))

    def open_blob(self, digest: str) -> FileBlob | None:
        """Open a blob for reading."""
        return find_blob(self._folder, digest)

    def close(self) -> None:
        """Close the database."""
        self._db.close()
