"""Read-only access to a store in MongoDB, while a repository uses it or after its end."""

from collections.abc import Iterator

from fedbus.blobs.block_cache import BlockCache
from fedbus.errors import StoreError
from fedbus_repository.stores.ledger_records import EntryFacts
from fedbus_repository.stores.mongo.collections import Collections
from fedbus_repository.stores.mongo.connection import MongoConnection
from fedbus_repository.stores.mongo.documents import Document, owed_to
from fedbus_repository.stores.mongo.gridfs_blob import GridFsBlob
from fedbus_repository.stores.mongo.gridfs_files import FILES, read_file_document
from fedbus_repository.stores.mongo.ledger_collection import JOBS
from fedbus_repository.stores.mongo.mongo_database import read_documents_version
from fedbus_repository.stores.mongo.mongo_records import MongoRecords
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings
from fedbus_repository.stores.records import HistoryEntry, StoredJob

HISTORY_CACHE_BYTES = 8 * 1024 * 1024


class ReadOnlyRecords(MongoRecords):
    """The records of a database that another process may own."""

    def entries_after(self, job: str, number: int) -> Iterator[EntryFacts]:
        """Read the entries of a job, with the one that its owner has yet to copy, if any."""
        document = self._collections.find_one(JOBS, {"_id": job}, fields={"owed": 1})
        owed = None if document is None else owed_to(document)
        for each in super().entries_after(job, number):
            if owed is not None and each.entry.task == owed.entry.task:
                owed = None
            yield each
        if owed is not None:
            yield owed

    def _settle(self, document: Document) -> None:
        """Write nothing."""


class MongoHistory:
    """Reads what a `MongoStore` wrote.

    Raises:
        SettingsError: The settings cannot be used.
        StoreError: The database cannot be reached, has no store, or one that another version of
            fedbus wrote.
    """

    def __init__(self, settings: MongoSettings) -> None:
        self._connection = MongoConnection(settings)
        self._cache = BlockCache(HISTORY_CACHE_BYTES)
        collections = Collections(self._connection, "reading the history", lambda _: None)
        self._records = ReadOnlyRecords(collections)
        try:
            found = read_documents_version(self._connection)
        except StoreError:
            self._connection.close()
            raise
        if found is None:
            self._connection.close()
            raise StoreError(
                f"no store in the database {settings.database_name} of MongoDB at"
                f" {settings.address}"
            )

    def history(self) -> list[HistoryEntry]:
        """Read every version of every model, by model and version."""
        return list(self._records.history())

    def job(self, name: str) -> StoredJob | None:
        """Read a job."""
        return self._records.job(name)

    def ledger(self, job: str) -> list[EntryFacts]:
        """Read all entries of a job's ledger, in order."""
        return list(self._records.entries_after(job, 0))

    def open_blob(self, digest: str) -> GridFsBlob | None:
        """Open a blob for reading."""
        found = self._connection.run(
            "opening a blob", lambda db: db[FILES].find_one({"_id": digest})
        )
        file = None if found is None else read_file_document(found)
        return None if file is None else GridFsBlob(file, self._connection, self._cache)

    def close(self) -> None:
        """Close all connections."""
        self._connection.close()
