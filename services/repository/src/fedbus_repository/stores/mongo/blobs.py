"""Blobs in GridFS: what `BlobStorage` promises, on a MongoDB database.

A blob that arrives is a local file without a name, whose space is reserved at once; `keep` verifies
it and writes it to the database.
"""

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Final

from fedbus.atomic_write import os_errors_as_store_errors
from fedbus.blobs.block_cache import BlockCache
from fedbus.errors import StoreError
from fedbus.wire.blobs import BlobRef
from fedbus_repository.stores.blob_storage import DamagedBlobError
from fedbus_repository.stores.disk import OnStep
from fedbus_repository.stores.files import MissingBlobError
from fedbus_repository.stores.mongo.connection import MongoConnection
from fedbus_repository.stores.mongo.gridfs_blob import GridFsBlob
from fedbus_repository.stores.mongo.gridfs_writer import GridFsWriter
from fedbus_repository.stores.upload import UNKNOWN_DIGEST, FileUpload, UploadContext

MAX_OPEN_BLOBS: Final = 256
"""Documents of blobs that stay in memory, so that serving a chunk needs no look at them."""
CACHE_BYTES: Final = 32 * 1024 * 1024
"""Memory for blocks of all blobs that are being read."""


class GridFsBlobs:
    """All blobs of a store. Thread-safe. Faults of the database raise StoreError.

    Args:
        connection: The database, which this process owns; `close` leaves it open.
        spool_folder: Local folder for blobs that arrive.
        on_step: Called before each step on the disk or the database, for fault tests.
    """

    def __init__(
        self,
        connection: MongoConnection,
        spool_folder: Path,
        *,
        on_step: OnStep = lambda _: None,
    ) -> None:
        self._connection, self._spools, self._on_step = connection, spool_folder, on_step
        self._writer = GridFsWriter(connection, on_step)
        self._numbers = count()
        self._open: OrderedDict[str, GridFsBlob] = OrderedDict()
        self._cache = BlockCache(CACHE_BYTES)
        self._changed = threading.Condition()
        self._changing: set[str] = set()
        self._changes = 0
        with os_errors_as_store_errors(spool_folder, "preparing the store"):
            spool_folder.mkdir(parents=True, exist_ok=True)
            for left in spool_folder.glob("*.upload"):
                left.unlink()
        self._writer.prepare()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hash")
        self._context = UploadContext(self._pool, on_step, self._keep)

    def upload(self, blob: BlobRef) -> FileUpload:
        """Reserve local space for a blob that is to be fetched; StoreError if there is none."""
        return self._reserve(f"{blob.digest}.{next(self._numbers)}.upload", blob)

    def receive(self, most_bytes: int, digest: str | None = None) -> FileUpload:
        """Reserve local space for content of at most this size; StoreError if there is none."""
        blob = BlobRef(digest=digest or UNKNOWN_DIGEST, size=most_bytes)
        return self._reserve(f"received.{next(self._numbers)}.upload", blob, may_be_shorter=True)

    def _reserve(self, name: str, blob: BlobRef, *, may_be_shorter: bool = False) -> FileUpload:
        path = self._spools / name
        with os_errors_as_store_errors(path, f"reserving {blob.size} bytes"):
            self._on_step("reserve")
            self._spools.mkdir(parents=True, exist_ok=True)  # an operator may have deleted it
            upload = FileUpload(path, blob, self._context, may_be_shorter=may_be_shorter)
            path.unlink()  # the kernel frees its space whenever this process ends
            return upload

    def holds(self, blob: BlobRef) -> bool:
        """Return whether a blob exists and is intact; reads all of its content."""
        found = self._find(blob.digest)
        if found is None or found.size != blob.size:
            return False
        try:
            return found.digest() == blob.digest
        except DamagedBlobError:
            return False

    def require(self, blob: BlobRef, what: str) -> None:
        """Raise MissingBlobError unless a blob exists in its size; `what` names it."""
        found = self._find(blob.digest)
        if found is None or found.size != blob.size:
            settings = self._connection.settings
            raise MissingBlobError(
                f"{what} is missing: restore the blob {blob.digest} ({blob.size} bytes) in the"
                f" database {settings.database_name} at {settings.address} from a backup, or push"
                " the same content again"
            )

    def opened(self, digest: str) -> GridFsBlob | None:
        """Return a blob that was opened before and is not deleted; never waits."""
        with self._changed:
            found = self._open.get(digest)
            if found is not None:
                self._open.move_to_end(digest)
            return found

    def open(self, digest: str) -> GridFsBlob | None:
        """Open a blob; the documents of the last few stay in memory."""
        return self.opened(digest) or self._find(digest)

    def delete(self, digests: Iterable[str]) -> None:
        """Delete blobs; those that cannot be deleted now are deleted at the next start."""
        for digest in digests:
            with self._change(digest), suppress(StoreError):
                self._writer.delete(digest)

    def sweep(self, referenced: Collection[str]) -> None:
        """Delete all other blobs, which were kept for a commit that was never inserted."""
        self.delete([each for each in self._writer.stored() if each not in referenced])

    def close(self) -> None:
        """End the thread that hashes."""
        self._pool.shutdown()
        with self._changed:
            self._open.clear()

    def _find(self, digest: str) -> GridFsBlob | None:
        changes = self._changes
        file = self._writer.find(digest)
        if file is None:
            return None
        found = GridFsBlob(file, self._connection, self._cache)
        with self._changed:
            if changes == self._changes:  # else it may be gone by now
                self._open[digest] = found
                while len(self._open) > MAX_OPEN_BLOBS:
                    self._open.popitem(last=False)
        return found

    def _keep(self, upload: FileUpload) -> None:
        size = upload.blob_ref.size
        try:
            with os_errors_as_store_errors(self._spools, f"reading {size} bytes back"):
                with upload.hashing() as digest:
                    pass
                found = digest()
            blob = upload.verified(found)
            with self._change(blob.digest):
                if not self.holds(blob):  # what a version needs is not deleted to be written again
                    self._writer.write(upload)
        finally:
            upload.discard()

    @contextmanager
    def _change(self, digest: str) -> Iterator[None]:
        """Change a blob in this thread alone; what was read of it before is forgotten."""
        with self._changed:
            self._changed.wait_for(lambda: digest not in self._changing)
            self._changing.add(digest)
            self._changes += 1
            self._open.pop(digest, None)
        try:
            yield
        finally:
            self._cache.forget(digest)
            with self._changed:
                self._changing.discard(digest)
                self._changes += 1
                self._open.pop(digest, None)
                self._changed.notify_all()
