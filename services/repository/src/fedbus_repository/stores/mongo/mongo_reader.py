# ruff: noqa: D102 - the methods are documented in StoreReader
"""All that a MongoDB store holds, read while a repository may use it."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from fedbus.blobs.block_cache import BlockCache
from fedbus.errors import FedbusError, StoreError
from fedbus.wire import codec
from fedbus.wire.messages.model_trail import NameChange
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

T = TypeVar("T")
_CACHE_BYTES = 16 * 2**20
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
        lease = self._collections.find_one(STATE, {"_id": "lease"})
        if lease is not None:
            yield self._read("the lease", partial(lease_of, lease))
        owed: dict[str, EntryFacts] = {}
        for document in self._each(JOBS, _BY_NUMBER):
            where = f"job {document['_id']!r}"
            yield self._read(where, partial(dumped_job_of, document))
            entry = self._read(where, partial(owed_to, document))
            if isinstance(entry, EntryFacts):
                owed[document["_id"]] = entry
        for document in self._each(NAME_CHANGES, (("model", 1), ("number", 1))):
            where = f"change {document['number']} of the names of model {document['model']!r}"
            yield self._read(where, partial(codec.unpack, NameChange, document["change"]))
        files: set[str] = set()
        for document in self._each(VERSIONS, _BY_MODEL):
            files.update(document.get("files", ()))
            where = f"version {document['version']} of model {document['model']!r}"
            yield self._read(where, partial(history_entry_of, document))
        for digest in sorted(files):
            yield DumpedFile(digest=digest)
        yield from self._ledgers(owed)
        for document in self._each(CONFIGURATIONS, _BY_NUMBER):
            where = f"configuration {document['_id']!r}"
            yield self._read(where, partial(configuration_of, document))
        for document in self._each(DOCUMENTS, (("kind", 1), ("name", 1))):
            where = f"{document['kind']} {document['name']!r}"
            yield self._read(where, partial(document_of, document))

    def _ledgers(self, owed: dict[str, EntryFacts]) -> Iterator[DumpedRecord | UnreadableRecord]:
        """Read all ledgers by job, with the entry that a job's document has and its ledger lacks.

        Each ledger is read after the jobs, so an entry may be in both by then.
        """
        found = self._collections.each(LEDGER, {}, order=(("job", 1), ("number", 1)))
        job, tasks = "", set[int]()
        for document in found:
            if document["job"] != job:
                yield from self._owed(owed, tasks, before=document["job"])
                job, tasks = document["job"], set()
            tasks.add(document["task"])
            if job in owed and owed[job].entry.task in tasks:
                del owed[job]
            where = f"the ledger of job {job!r}"
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
            if isinstance(document["_id"], str):
                yield document["_id"], int(document["length"])

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
        return self._collections.each(collection, {}, order=order)

    def _read(self, where: str, read: Callable[[], T]) -> T | UnreadableRecord:
        try:
            return read()
        except (FedbusError, ValueError, TypeError, KeyError, AttributeError) as error:
            return UnreadableRecord(where, f"{type(error).__name__}: {error}")
