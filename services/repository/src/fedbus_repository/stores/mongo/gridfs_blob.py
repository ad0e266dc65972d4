"""One blob in GridFS, read block by block with a read-ahead; a BlobSource.

A receiver requests 256 KiB at a time. A round trip to the database for each would take longer than
the transfer, so a read takes a whole GridFS chunk, and up to four when reads follow each other.
"""

import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final

from fedbus.blobs.block_cache import BlockCache
from fedbus.digest import hasher
from fedbus.errors import StoreError
from fedbus_repository.stores.blob_storage import DamagedBlobError
from fedbus_repository.stores.mongo.connection import MongoConnection, MongoDatabase
from fedbus_repository.stores.mongo.gridfs_files import CHUNKS, GridFsFile

READ_AHEAD_BYTES: Final = 4 * 1024 * 1024
"""Bytes that one round trip reads when reads follow each other."""


class GridFsBlob:
    """A blob whose document was read. Reads are safe from several threads.

    Attributes:
        size: Bytes of the blob.
    """

    def __init__(self, file: GridFsFile, connection: MongoConnection, cache: BlockCache) -> None:
        self.size = file.size
        self.file = file
        self._connection, self._cache = connection, cache
        self._lock = threading.Lock()  # two threads do not fetch the same blocks

    def read_now(self, offset: int, length: int) -> bytes | None:
        """Return up to `length` bytes at an offset if they are in memory; None: `read` waits."""
        blocks = [self._cache.get(self.file.digest, i) for i in self._indices(offset, length)]
        found = [block for block in blocks if block is not None]
        return self._cut(found, offset, length) if len(found) == len(blocks) else None

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes at an offset, from memory or from the database.

        Raises:
            DamagedBlobError: A chunk is missing or damaged; the message names it.
            StoreError: The database does not answer.
        """
        if (found := self.read_now(offset, length)) is not None:
            return found
        indices = self._indices(offset, length)
        with self._lock:
            blocks = list(self._blocks(indices))
        return self._cut(blocks, offset, length)

    def digest(self) -> str:
        """Compute the content's digest; errors are those of `read`."""
        digest, step = hasher(), self._step
        for first in range(0, self.file.count, step):
            for block in self._fetch(range(first, min(first + step, self.file.count))):
                digest.update(block)
        return digest.hexdigest()

    @property
    def _step(self) -> int:
        return max(1, READ_AHEAD_BYTES // self.file.chunk_bytes)

    def _indices(self, offset: int, length: int) -> range:
        if offset < 0:
            raise StoreError(
                f"reading a blob: {self.file.digest[:12]}: offset {offset} is negative"
            )
        end = min(offset + length, self.size)
        if offset >= end:
            return range(0)
        return range(offset // self.file.chunk_bytes, (end - 1) // self.file.chunk_bytes + 1)

    def _cut(self, blocks: list[bytes], offset: int, length: int) -> bytes:
        begin = offset % self.file.chunk_bytes
        content = blocks[0] if len(blocks) == 1 else b"".join(blocks)
        return content[begin : begin + max(length, 0)]

    def _blocks(self, indices: range) -> Iterator[bytes]:
        digest, at = self.file.digest, indices.start
        while at < indices.stop:
            if (block := self._cache.get(digest, at)) is not None:
                yield block
                at += 1
                continue
            follows = at == 0 or self._cache.has(digest, at - 1)
            wanted = max(indices.stop - at, self._step if follows else 1)
            end = min(at + min(wanted, self._step), self.file.count)
            fetched = self._fetch(range(at, end))
            self._cache.put(digest, at, fetched)
            yield from fetched[: indices.stop - at]
            at = end

    def _fetch(self, indices: range) -> list[bytes]:
        digest = self.file.digest
        wanted = {"files_id": digest, "n": {"$gte": indices.start, "$lt": indices.stop}}

        async def find(database: MongoDatabase) -> list[dict[str, Any]]:
            return await database[CHUNKS].find(wanted).sort("n", 1).to_list(len(indices))

        documents = self._connection.run(f"reading blob {digest[:12]}", find)
        found = {document.get("n"): document for document in documents}
        return [self._checked(index, found.get(index)) for index in indices]

    def _checked(self, index: int, document: Mapping[str, Any] | None) -> bytes:
        data = None if document is None else document.get("data")
        if not isinstance(data, bytes):
            raise self._damaged(index, "missing")
        if not self.file.is_intact(index, data):
            raise self._damaged(index, "damaged")
        return data

    def _damaged(self, index: int, how: str) -> DamagedBlobError:
        settings = self._connection.settings
        return DamagedBlobError(
            f"reading a blob: chunk {index} of {self.file.count} of blob {self.file.digest} is"
            f" {how} in {CHUNKS} of the database {settings.database_name} at {settings.address}:"
            " restore the database from a backup, or push the same content again"
        )
