"""Writes and deletions of blobs in GridFS: a document in `fs.files` is that of a complete blob.

A blob's document is inserted after its chunks, and deleted before them. Before the first of these
steps the digest is listed as unfinished, and struck off after the last, so that a restart finds
chunks without a document and needs no look at all others. One caller at a time for a digest.

A chunk is never changed: a damaged blob is deleted and written again. Single chunks are not deleted
either, because the server that our tests use deletes all chunks of their file.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeVar

from fedbus.errors import StoreError
from fedbus.wire.blobs import BlobRef
from fedbus_repository.stores.disk import OnStep
from fedbus_repository.stores.mongo.connection import (
    DuplicateRecordError,
    MongoConnection,
    MongoDatabase,
)
from fedbus_repository.stores.mongo.gridfs_files import (
    CHUNKS,
    FILES,
    GRIDFS_CHUNK_BYTES,
    UNFINISHED,
    GridFsFile,
    checksum,
    chunk_document,
    file_document,
    read_file_document,
)

T = TypeVar("T")

WRITE_BYTES: Final = 4 * 1024 * 1024
"""Bytes that one round trip writes."""
DELETE_SECONDS: Final = 120.0
"""Time for deleting all chunks of a blob."""


class BlobContent(Protocol):
    """Verified content of a blob that is to be written."""

    @property
    def blob_ref(self) -> BlobRef:
        """Its digest and size."""

    def read(self, offset: int, length: int, /) -> bytes:
        """Read bytes at an offset; errors are StoreErrors."""


class GridFsWriter:
    """The collections of GridFS, to be changed. Faults of the database raise StoreError.

    Args:
        connection: The database, which this process owns.
        on_step: Called before each change, for fault tests.
    """

    def __init__(self, connection: MongoConnection, on_step: OnStep) -> None:
        self._connection, self._on_step = connection, on_step

    def prepare(self) -> None:
        """Create the index, and complete what was interrupted when a process ended."""
        self._run("preparing the store", _create_index)
        for digest in self._run("preparing the store", _listed):
            what = f"completing blob {digest[:12]}"
            if self.find(digest) is None:
                self._remove(digest, what)
            self._unlist(digest, what)

    def find(self, digest: str) -> GridFsFile | None:
        """Read the document of a blob; None: there is none, or it is that of no blob."""
        document = self._document(digest)
        return None if document is None else read_file_document(document)

    def stored(self) -> list[str]:
        """Return the digests of all blobs."""
        return self._run("listing blobs", _stored)

    def write(self, content: BlobContent) -> None:
        """Write a blob that is not stored intact."""
        blob = content.blob_ref
        what = f"writing blob {blob.digest[:12]} of {blob.size} bytes"
        is_new = self._document(blob.digest) is None
        if not self._list(blob.digest, what) or not is_new:
            self._remove(blob.digest, what)
        try:
            self._insert(content, what)
        except DuplicateRecordError:  # an operator deleted its document alone
            self._remove(blob.digest, what)
            self._insert(content, what)
        self._unlist(blob.digest, what)

    def delete(self, digest: str) -> None:
        """Delete a blob, if it exists."""
        what = f"deleting blob {digest[:12]}"
        self._list(digest, what)
        self._remove(digest, what)
        self._unlist(digest, what)

    def _insert(self, content: BlobContent, what: str) -> None:
        blob, checksums = content.blob_ref, list[str]()
        for offset in range(0, blob.size, WRITE_BYTES):
            documents = []
            for at in range(offset, min(offset + WRITE_BYTES, blob.size), GRIDFS_CHUNK_BYTES):
                data = content.read(at, min(GRIDFS_CHUNK_BYTES, blob.size - at))
                documents.append(chunk_document(blob.digest, len(checksums), data))
                checksums.append(checksum(data))
            self._insert_chunks(documents, what)
        document = file_document(blob, checksums, datetime.now(UTC))
        self._step("insert_file", what, lambda db: db[FILES].insert_one(document))

    def _insert_chunks(self, documents: list[dict[str, Any]], what: str) -> None:
        self._step("insert_chunks", what, lambda db: db[CHUNKS].insert_many(documents))

    def _remove(self, digest: str, what: str) -> None:
        if self._document(digest) is not None:
            self._step("delete_file", what, lambda db: db[FILES].delete_one({"_id": digest}))
        self._step(
            "delete_chunks",
            what,
            lambda db: db[CHUNKS].delete_many({"files_id": digest}),
            timeout=DELETE_SECONDS,
        )

    def _document(self, digest: str) -> dict[str, Any] | None:
        what = f"opening blob {digest[:12]}"
        return self._run(what, lambda db: db[FILES].find_one({"_id": digest}))

    def _list(self, digest: str, what: str) -> bool:
        """List a digest as unfinished; False: an earlier attempt was interrupted."""
        try:
            self._step("list", what, lambda db: db[UNFINISHED].insert_one({"_id": digest}))
        except DuplicateRecordError:
            return False
        return True

    def _unlist(self, digest: str, what: str) -> None:
        with suppress(StoreError):  # the next start does it
            self._step("unlist", what, lambda db: db[UNFINISHED].delete_one({"_id": digest}))

    def _step(
        self,
        step: str,
        what: str,
        call: Callable[[MongoDatabase], Awaitable[object]],
        *,
        timeout: float | None = None,
    ) -> None:
        self._on_step(step)
        self._connection.run(what, call, timeout=timeout)

    def _run(self, what: str, call: Callable[[MongoDatabase], Awaitable[T]]) -> T:
        return self._connection.run(what, call)


async def _create_index(database: MongoDatabase) -> None:
    await database[CHUNKS].create_index([("files_id", 1), ("n", 1)], unique=True)


async def _listed(database: MongoDatabase) -> list[str]:
    return [str(each["_id"]) async for each in database[UNFINISHED].find({})]


async def _stored(database: MongoDatabase) -> list[str]:
    found = [each["_id"] async for each in database[FILES].find({}, {"_id": 1})]
    return [digest for digest in found if isinstance(digest, str)]
