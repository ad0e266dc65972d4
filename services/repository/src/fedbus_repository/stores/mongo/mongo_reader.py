# ruff: noqa: D102 - the methods are documented in StoreReader
"""All that a MongoDB store holds, read while a repository may use it."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, TypeVar

from fedbus.blobs.block_cache import BlockCache
from fedbus.errors import FedbusError, StoreError
from fedbus.wire import codec
from fedbus.wire.messages.model_trail import NameChange
from fedbus_repository.stores.damaged_records import of_type
from fedbus_repository.stores.dumped_records import (
    DumpedFile,
    DumpedRecord,
    UnreadableRecord,
)
from fedbus_repository.stores.ledger_records import EntryFacts
from fedbus_repository.stores.mongo.collections import Collections
from fedbus_repository.stores.mongo.configuration_collection import (
    CONFIGURATIONS,
    configuration_of,
)
from fedbus_repository.stores.mongo.connection import MongoConnection
from fedbus_repository.stores.mongo.document_collection import DOCUMENTS, document_of
from fedbus_repository.stores.mongo.documents import (
    Document,
    facts_of,
    history_entry_of,
    lease_of,
    owed_to,
)
from fedbus_repository.stores.mongo.driver_errors import (
    DatabaseCertificateError,
    DatabaseLoginError,
    DatabaseRightsError,
    DatabaseTimeoutError,
    DatabaseUnreachableError,
)
from fedbus_repository.stores.mongo.dumped_documents import dumped_job_of
from fedbus_repository.stores.mongo.gridfs_blob import GridFsBlob
from fedbus_repository.stores.mongo.gridfs_files import FILES, read_file_document
from fedbus_repository.stores.mongo.ledger_collection import JOBS, LEDGER
from fedbus_repository.stores.mongo.mongo_database import (
    MongoRecordDatabase,
    read_documents_version,
)
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings
from fedbus_repository.stores.mongo.name_collection import NAME_CHANGES
from fedbus_repository.stores.mongo.ownership import STATE
from fedbus_repository.stores.mongo.version_collection import VERSIONS
from fedbus_repository.stores.records import HistoryEntry

T = TypeVar("T")
_CACHE_BYTES = 16 * 2**20
_UNANSWERED: Final = (
    DatabaseCertificateError,
    DatabaseLoginError,
    DatabaseRightsError,
    DatabaseTimeoutError,
    DatabaseUnreachableError,
)
"""Errors that say nothing of the records: an operator must correct the access to them first."""
_BY_NUMBER = (("number", 1),)
_BY_MODEL = (("model", 1), ("version", 1))


class MongoReader:
    """A `StoreReader` of a database; `exclusive` keeps repositories from using it meanwhile.

    MongoDB has no snapshot that lasts as long as a copy: records are read in an order in which
    none refers to one that is missing. With `unfinished`, also a copy that is being written.

    Raises:
        StoreError: The database cannot be reached, is in use, or has no store.
    """

    def __init__(
        self, settings: MongoSettings, *, exclusive: bool = False, unfinished: bool = False
    ) -> None:
        self._settings = settings
        self._connection = MongoConnection(settings)
        self._owned: MongoRecordDatabase | None = None
        try:
            if not unfinished:
                self._check()
            if exclusive:
                self._owned = MongoRecordDatabase(self._connection)
        except StoreError:
            self._connection.close()
            raise
        self._collections = Collections(self._connection, "reading the store", lambda _: None)

    def _check(self) -> None:
        if read_documents_version(self._connection) is None:
            raise StoreError(f"no store in {self.place}")

    @property
    def place(self) -> str:
        return f"the database {self._settings.database_name} at {self._settings.address}"

    def records(self) -> Iterator[DumpedRecord | UnreadableRecord]:
        self._unreadable: list[UnreadableRecord] = []
        yield from self._lease()
        owed: dict[str, EntryFacts] = {}
        for document in self._each(JOBS, _BY_NUMBER):
            where = f"job {document['_id']!r}"
            yield self._read(where, partial(dumped_job_of, document))
            entry = self._read(f"what {where} owes its ledger", partial(owed_to, document))
            if isinstance(entry, EntryFacts):
                owed[document["_id"]] = entry
            elif entry is not None:
                yield entry
        for document in self._each(NAME_CHANGES, (("model", 1), ("number", 1))):
            where = f"change {document.get('number')} of the names of model"
            yield self._read(f"{where} {document.get('model')!r}", partial(_name_change, document))
        files: set[str] = set()
        for document in self._each(VERSIONS, _BY_MODEL):
            where = f"version {document.get('version')} of model {document.get('model')!r}"
            yield self._read(where, partial(_history_entry, document, files))
        for digest in sorted(files):
            yield DumpedFile(digest=digest)
        yield from self._ledgers(owed)
        for document in self._each(CONFIGURATIONS, _BY_NUMBER):
            where = f"configuration {document['_id']!r}"
            yield self._read(where, partial(configuration_of, document))
        for document in self._each(DOCUMENTS, (("kind", 1), ("name", 1))):
            where = f"{document.get('kind')} {document.get('name')!r}"
            yield self._read(where, partial(document_of, document))
        yield from self._unreadable

    def _lease(self) -> Iterator[DumpedRecord | UnreadableRecord]:
        try:
            document = self._collections.find_one(STATE, {"_id": "lease"})
        except _UNANSWERED:
            raise
        except StoreError as error:
            yield UnreadableRecord("the lease", str(error))
            return
        if document is not None:
            yield self._read("the lease", partial(lease_of, document))

    def _ledgers(self, owed: dict[str, EntryFacts]) -> Iterator[DumpedRecord | UnreadableRecord]:
        """Read all ledgers by job, with the entry that a job's document has and its ledger lacks.

        Each ledger is read after the jobs, so an entry may be in both by then.
        """
        job, tasks = "", set[int]()
        for document in self._each(LEDGER, (("job", 1), ("number", 1))):
            where = f"the ledger of job {document.get('job')!r}"
            key = self._read(where, partial(_key_of_entry, document))
            if isinstance(key, UnreadableRecord):
                yield key
                continue
            if key[0] != job:
                yield from self._owed(owed, tasks, before=key[0])
                job, tasks = key[0], set()
            tasks.add(key[1])
            if job in owed and owed[job].entry.task in tasks:
                del owed[job]
            yield self._read(where, partial(facts_of, document))
        yield from self._owed(owed, tasks, before=None)

    @staticmethod
    def _owed(
        owed: dict[str, EntryFacts], tasks: set[int], *, before: str | None
    ) -> Iterator[EntryFacts]:
        for name in sorted(owed):
            if before is not None and name >= before:
                return
            facts = owed.pop(name)
            if facts.entry.task not in tasks:
                yield facts

    def damage(self) -> Iterator[str]:
        # MongoDB checks its own files: `validate` locks a collection, so it is for its operator.
        return iter(())

    def blobs(self) -> Iterator[tuple[str, int]]:
        order, fields = (("_id", 1),), {"_id": 1, "length": 1}
        for document in self._collections.each(FILES, {}, order=order, fields=fields):
            length = document.get("length")
            if isinstance(document["_id"], str) and isinstance(length, int | float):
                yield document["_id"], int(length)

    def open_blob(self, digest: str) -> GridFsBlob | None:
        document = self._collections.find_one(FILES, {"_id": digest})
        file = None if document is None else read_file_document(document)
        if file is None:
            return None
        return GridFsBlob(file, self._connection, BlockCache(_CACHE_BYTES))

    def refresh(self) -> None:
        """Do nothing: every read sees what the database has now."""

    def close(self) -> None:
        if self._owned is not None:
            self._owned.close()
        self._connection.close()

    def _each(self, collection: str, order: tuple[tuple[str, int], ...]) -> Iterator[Document]:
        """Read a collection; what cannot be read of it is kept, to be named after all records.

        Raises:
            StoreError: The server does not answer at all.
        """
        try:
            yield from self._collections.each(collection, {}, order=order)
        except _UNANSWERED:
            raise
        except StoreError as error:
            where = f"a part of the collection {collection} of {self.place}"
            self._unreadable.append(UnreadableRecord(where, str(error)))

    def _read(self, where: str, read: Callable[[], T]) -> T | UnreadableRecord:
        try:
            return read()
        except (FedbusError, ValueError, TypeError, LookupError, AttributeError) as error:
            return UnreadableRecord(where, f"{type(error).__name__}: {error}")


def _name_change(document: Document) -> NameChange:
    return codec.unpack(NameChange, document["change"])


def _history_entry(document: Document, files: set[str]) -> HistoryEntry:
    """Return a version, and add the files that it names to `files`."""
    entry = history_entry_of(document)
    files.update(of_type(str, each, "a file") for each in document.get("files", ()))
    return entry


def _key_of_entry(document: Document) -> tuple[str, int]:
    """Return the job and the task of a ledger entry."""
    return of_type(str, document["job"], "job"), of_type(int, document["task"], "task")
