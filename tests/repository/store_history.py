"""Records of a repository's store, read by tests beside the repository or after its end."""

import sqlite3
from pathlib import Path

from fedbus.blobs.files import FileBlob
from fedbus.errors import StoreError
from fedbus_repository.stores.dumped_records import UnreadableRecord
from fedbus_repository.stores.files import find_blob
from fedbus_repository.stores.ledger_records import EntryFacts
from fedbus_repository.stores.mongo.gridfs_blob import GridFsBlob
from fedbus_repository.stores.mongo.mongo_reader import MongoReader
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings
from fedbus_repository.stores.records import HistoryEntry, StoredJob
from fedbus_repository.stores.sqlite.database import DATABASE
from fedbus_repository.stores.sqlite.sqlite_records import SqliteRecords


class SqliteHistory:
    """Reads what a `SqliteStore` wrote: without `SqliteReader`, one job's ledger at a time.

    Raises:
        StoreError: The folder has no store.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        path = folder / DATABASE
        if not path.exists():
            raise StoreError(f"no store in {folder}: expected a file {DATABASE}")
        self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
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


class MongoHistory:
    """Reads what a `MongoStore` wrote.

    Raises:
        StoreError: The database cannot be reached, or has no store.
    """

    def __init__(self, settings: MongoSettings) -> None:
        self._reader = MongoReader(settings)

    def history(self) -> list[HistoryEntry]:
        """Read every version of every model, by model and version."""
        return [each for each in self._records() if isinstance(each, HistoryEntry)]

    def ledger(self, job: str) -> list[EntryFacts]:
        """Read all entries of a job's ledger, in order."""
        found = (each for each in self._records() if isinstance(each, EntryFacts))
        return [each for each in found if each.entry.job == job]

    def open_blob(self, digest: str) -> GridFsBlob | None:
        """Open a blob for reading."""
        return self._reader.open_blob(digest)

    def close(self) -> None:
        """Close all connections."""
        self._reader.close()

    def _records(self) -> list[object]:
        found = list(self._reader.records())
        assert not any(isinstance(each, UnreadableRecord) for each in found)
        return [*found]
