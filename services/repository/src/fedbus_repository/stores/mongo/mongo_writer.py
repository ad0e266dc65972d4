# ruff: noqa: D102 - the methods are documented in StoreWriter
"""A new MongoDB store that is filled from a dump.

A document names the source of the unfinished copy: until it is deleted, which is the last step, no
repository uses the database.
"""

import tempfile
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from fedbus.core.blob_io import BlobSource
from fedbus.errors import StoreError, WireError
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import ModelSpec
from fedbus.wire.messages.model_trail import NameChange
from fedbus.wire.spec_files import files_of
from fedbus_repository.stores.document_records import StoredDocument
from fedbus_repository.stores.dumped_records import DumpedJob, DumpedRecord
from fedbus_repository.stores.ledger_records import EntryFacts
from fedbus_repository.stores.mongo.blobs import GridFsBlobs
from fedbus_repository.stores.mongo.configuration_collection import (
    CONFIGURATIONS,
    configuration_document,
)
from fedbus_repository.stores.mongo.connection import DuplicateRecordError, MongoConnection
from fedbus_repository.stores.mongo.document_collection import DOCUMENTS, stored_document
from fedbus_repository.stores.mongo.documents import ledger_document
from fedbus_repository.stores.mongo.dumped_documents import (
    dumped_job_document,
    dumped_version_document,
)
from fedbus_repository.stores.mongo.ledger_collection import JOBS, LEDGER
from fedbus_repository.stores.mongo.mongo_database import (
    COPY,
    OWNER_SECONDS,
    create_indexes,
    read_documents_version,
    write_documents_version,
)
from fedbus_repository.stores.mongo.mongo_reader import MongoReader
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings
from fedbus_repository.stores.mongo.name_collection import NAME_CHANGES, name_change_document
from fedbus_repository.stores.mongo.ownership import STATE, Ownership
from fedbus_repository.stores.mongo.version_collection import VERSIONS
from fedbus_repository.stores.records import HistoryEntry, Lease, StoredConfiguration
from fedbus_repository.stores.store_reader import copy_blob

COLLECTIONS: Final = (JOBS, NAME_CHANGES, VERSIONS, LEDGER, CONFIGURATIONS, DOCUMENTS)
INSERT_DOCUMENTS: Final = 50
"""Documents of one insertion; a round's record has up to 16 MiB, so a larger one goes alone."""
MAX_INSERT_BYTES: Final = 16 * 2**20


class MongoWriter:
    """A `StoreWriter` of a database that has no store, or an unfinished copy `of` the same source.

    Raises:
        StoreError: The database cannot be reached, has a store or another copy, or is in use.
    """

    def __init__(self, settings: MongoSettings, *, of: str) -> None:
        self._settings = settings
        self._connection = MongoConnection(settings)
        self._owner = Ownership(self._connection, OWNER_SECONDS)
        self._spools = tempfile.TemporaryDirectory(prefix="fedbus-copy-")
        try:
            self._owner.take()
            self._begin(of)
            self._blobs = GridFsBlobs(self._connection, Path(self._spools.name))
        except StoreError:
            self._release()
            raise

    def _begin(self, of: str) -> None:
        where = f"the database {self._settings.database_name} at {self._settings.address}"
        if read_documents_version(self._connection) is not None:
            raise StoreError(f"{where} has a store already; name an empty database")
        try:
            document = {"_id": COPY, "source": of}
            self._run("preparing the new store", lambda db: db[STATE].insert_one(document))
        except DuplicateRecordError:
            found = self._run(
                "preparing the new store", lambda db: db[STATE].find_one({"_id": COPY})
            )
            if found is not None and found["source"] != of:
                raise StoreError(
                    f"{where} has an unfinished copy of {found['source']}; name another database"
                ) from None

    def add_records(self, records: Iterable[DumpedRecord]) -> None:
        self._run("preparing the new store", lambda db: db[STATE].delete_one({"_id": "lease"}))
        for name in COLLECTIONS:
            self._run("preparing the new store", lambda db, n=name: db[n].drop())
        create_indexes(self._connection)
        documents = _Documents(self._blobs)
        left = iter(records)
        while batch := list(islice(left, INSERT_DOCUMENTS)):
            by_collection: dict[str, list[dict[str, Any]]] = {}
            for collection, document in documents.of(batch):
                by_collection.setdefault(collection, []).append(document)
            for collection, many in by_collection.items():
                self._insert(collection, many)

    def _insert(self, collection: str, documents: list[dict[str, Any]]) -> None:
        while documents:
            size, count = 0, 0
            while count < len(documents) and (size < MAX_INSERT_BYTES or not count):
                size += _size_of(documents[count])
                count += 1
            some, documents = documents[:count], documents[count:]
            self._run(
                f"writing {collection}",
                lambda db, s=some: db[collection].insert_many(s),
            )

    def has_blob(self, digest: str, size: int) -> bool:
        found = self._blobs.open(digest)
        return found is not None and found.size == size

    def add_blob(self, digest: str, source: BlobSource) -> None:
        copy_blob(digest, source, self._blobs)

    def reader(self) -> MongoReader:
        return MongoReader(self._settings, unfinished=True)

    def finish(self) -> None:
        write_documents_version(self._connection)
        self._run("finishing the new store", lambda db: db[STATE].delete_one({"_id": COPY}))

    def close(self) -> None:
        self._blobs.close()
        self._release()

    def _release(self) -> None:
        self._owner.release()
        self._connection.close()
        self._spools.cleanup()

    def _run(self, operation: str, call: Any) -> Any:  # noqa: ANN401 - as motor's methods return
        return self._connection.run(operation, call)


class _Documents:
    """Documents of records, whose numbers and sums count from the first record of the dump."""

    def __init__(self, blobs: GridFsBlobs) -> None:
        self._blobs = blobs
        self._jobs = 0
        self._last_entry: Mapping[str, Any] | None = None
        self._files: dict[str, tuple[BlobRef, ...]] = {}

    def of(self, records: Iterable[DumpedRecord]) -> Iterable[tuple[str, dict[str, Any]]]:
        """Return the collection and the document of each record; files are in versions."""
        for record in records:
            match record:
                case Lease():
                    fields = {"holder": record.holder, "incarnation": record.incarnation}
                    yield STATE, {"_id": "lease", "epoch": record.epoch} | fields
                case DumpedJob():
                    self._jobs += 1
                    yield JOBS, dumped_job_document(record, self._jobs)
                case HistoryEntry():
                    files = self._files_of(record) if record.version.job is None else ()
                    yield VERSIONS, dumped_version_document(record, files)
                case EntryFacts():
                    yield LEDGER, self._ledger_document(record)
                case NameChange():
                    yield NAME_CHANGES, name_change_document(record)
                case StoredConfiguration():
                    yield CONFIGURATIONS, configuration_document(record)
                case StoredDocument():
                    yield DOCUMENTS, stored_document(record)

    def _ledger_document(self, facts: EntryFacts) -> dict[str, Any]:
        last = self._last_entry
        before = last if last is not None and last["job"] == facts.entry.job else None
        document = ledger_document(facts, before)
        self._last_entry = document
        return document

    def _files_of(self, entry: HistoryEntry) -> tuple[BlobRef, ...]:
        """Return the spec of a pushed version and the files that it names."""
        spec = entry.version.spec
        if spec.digest not in self._files:
            source = self._blobs.open(spec.digest)
            if source is None:
                raise StoreError(f"the model spec {spec.digest} is missing")
            try:
                stated = codec.from_json(ModelSpec, source.read(0, source.size))
                self._files[spec.digest] = (spec, *files_of(stated))
            except WireError as error:
                raise StoreError(f"the model spec {spec.digest}: {error}") from error
        return self._files[spec.digest]


def _size_of(document: Mapping[str, Any]) -> int:
    return sum(len(each) for each in document.values() if isinstance(each, bytes | str))
