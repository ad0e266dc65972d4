"""Blobs as files named by their digest: `blobs/ab/abcdef…`.

A blob is written to `uploads/`, verified, synced and renamed into place, and its folder is synced:
a file under a digest is always complete. After a failed sync the file is discarded and the blob
fetched again, because the kernel may have dropped the pages that it could not write.
"""

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path

from fedbus.atomic_write import os_errors_as_store_errors, store_error_of, sync_folder
from fedbus.blobs.files import FileBlob, open_blob
from fedbus.errors import StoreDamagedError
from fedbus.wire.blobs import BlobRef
from fedbus_repository.stores.disk import OnStep
from fedbus_repository.stores.upload import UNKNOWN_DIGEST, FileUpload, UploadContext

MAX_OPEN_FILES = 64
_is_digest = re.compile(r"[0-9a-f]{64}").fullmatch


class MissingBlobError(StoreDamagedError):
    """A blob that a record references is not in the folder, or has another size."""


def blob_path(store: Path, digest: str) -> Path:
    """Return the path of a blob in a store's folder, whether it exists or not."""
    return store / "blobs" / digest[:2] / digest


def find_blob(store: Path, digest: str) -> FileBlob | None:
    """Open a blob in a store's folder; None if it is missing.

    Raises:
        StoreError: It cannot be opened, as with too many open files: that does not say it is lost.
    """
    path = blob_path(store, digest)
    try:
        return open_blob(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise store_error_of(path, error, "opening a blob") from error


def blob_files(store: Path) -> Iterator[Path]:
    """List all files where a store's folder, or a backup, has its blobs, whatever their names."""
    return (store / "blobs").glob("??/*")


def stored_blobs(store: Path) -> Iterator[Path]:
    """List the blobs among these files, in no order.

    A file whose name is no digest is none: a copy that was interrupted, or another program's file.
    """
    return (path for path in blob_files(store) if _is_digest(path.name))


class BlobFolder:
    """All blobs of a store. Thread-safe. Raises StoreError if the folder cannot be written.

    Args:
        durable: False syncs nothing, for tests.
        on_step: Called before each step on the disk, for fault tests.
    """

    def __init__(
        self, folder: Path, *, durable: bool = True, on_step: OnStep = lambda _: None
    ) -> None:
        self._folder, self._uploads = folder, folder / "uploads"
        self._durable, self._on_step = durable, on_step
        self._numbers = count()
        self._open: OrderedDict[str, FileBlob] = OrderedDict()
        self._lock = threading.Lock()
        self._changes = 0  # of what the open files are: deletions and replacements
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hash")
        self._context = UploadContext(self._pool, on_step, self._keep)
        with os_errors_as_store_errors(folder, "preparing the store"):
            for each in (folder / "blobs", self._uploads):
                each.mkdir(parents=True, exist_ok=True)
            self._sync_folder(folder)
            for left in self._uploads.iterdir():
                left.unlink()

    def upload(self, blob: BlobRef) -> FileUpload:
        """Reserve space for a blob that is to be fetched; raise StoreError if there is none."""
        return self._reserve(f"{blob.digest}.{next(self._numbers)}", blob)

    def receive(self, most_bytes: int, digest: str | None = None) -> FileUpload:
        """Reserve space for content of at most this size; raise StoreError if there is none."""
        blob = BlobRef(digest=digest or UNKNOWN_DIGEST, size=most_bytes)
        return self._reserve(f"received.{next(self._numbers)}", blob, may_be_shorter=True)

    def _reserve(self, name: str, blob: BlobRef, *, may_be_shorter: bool = False) -> FileUpload:
        path = self._uploads / name
        with os_errors_as_store_errors(path, f"reserving {blob.size} bytes"):
            self._on_step("reserve")
            self._uploads.mkdir(exist_ok=True)  # an operator may have deleted it
            return FileUpload(path, blob, self._context, may_be_shorter=may_be_shorter)

    def holds(self, blob: BlobRef) -> bool:
        """Return whether a blob is on the disk and intact; reads all of its content."""
        if not self._is_stored(blob):
            return False
        source = self.open(blob.digest)
        return source is not None and source.size == blob.size and source.digest() == blob.digest

    def require(self, blob: BlobRef, what: str) -> None:
        """Raise MissingBlobError unless a blob is on the disk in its size; `what` names it."""
        if not self._is_stored(blob):
            path = blob_path(self._folder, blob.digest)
            raise MissingBlobError(
                f"{what} is missing: restore {path} ({blob.size} bytes) from a backup, or push the"
                " same content again; it has the BLAKE3 digest that is its name"
            )

    def _is_stored(self, blob: BlobRef) -> bool:
        # A file that is open can be read although it was deleted.
        try:
            return blob_path(self._folder, blob.digest).stat().st_size == blob.size
        except OSError:
            return False

    def opened(self, digest: str) -> FileBlob | None:
        """Return a blob that is open already and not deleted; never waits."""
        with self._lock:
            source = self._open.get(digest)
            if source is not None:
                self._open.move_to_end(digest)
            return source

    def open(self, digest: str) -> FileBlob | None:
        """Open a blob; the last few stay open, so that reading a chunk is one system call."""
        if (source := self.opened(digest)) is not None:
            return source
        changes = self._changes
        source = find_blob(self._folder, digest)  # without the lock: it may wait
        if source is None:
            return None
        with self._lock:
            if changes == self._changes:  # else it may be deleted or replaced by now
                self._open[digest] = source
                if len(self._open) > MAX_OPEN_FILES:
                    self._open.popitem(last=False)
        return source

    def delete(self, digests: Iterable[str]) -> None:
        """Delete blobs; those that cannot be deleted now are deleted at the next start."""
        for digest in digests:
            with suppress(OSError):
                self._on_step("unlink")
                blob_path(self._folder, digest).unlink(missing_ok=True)
            self._forget(digest)

    def sweep(self, referenced: Collection[str]) -> None:
        """Delete all other blobs, which were kept for a commit that was never inserted."""
        names = [path.name for path in stored_blobs(self._folder)]
        self.delete([digest for digest in names if digest not in referenced])

    def close(self) -> None:
        """Close all files and end the thread that hashes."""
        self._pool.shutdown()
        with self._lock:
            self._open.clear()

    def _keep(self, upload: FileUpload) -> None:
        try:
            with os_errors_as_store_errors(upload.path, f"writing {upload.blob_ref.size} bytes"):
                self._verify(upload)
                self._move(upload)
        finally:
            upload.discard()

    def _verify(self, upload: FileUpload) -> None:
        with upload.hashing() as digest:
            self._on_step("sync")
            self._sync(upload.fd)
        upload.verified(digest())

    def _move(self, upload: FileUpload) -> None:
        target = blob_path(self._folder, upload.blob_ref.digest)
        self._make_folder(target.parent)
        existed = target.exists()
        self._on_step("rename")
        upload.path.replace(target)
        self._forget(target.name)  # a damaged file that this one replaces
        self._sync_entry(target, new=not existed)

    def _make_folder(self, folder: Path) -> None:
        """Create a folder durably, and `blobs` again if it was deleted."""
        if not folder.exists():
            if folder.parent != self._folder:
                self._make_folder(folder.parent)
            folder.mkdir(exist_ok=True)
            self._sync_entry(folder, new=True)

    def _forget(self, digest: str) -> None:
        with self._lock:
            self._changes += 1
            self._open.pop(digest, None)

    def _sync_entry(self, entry: Path, *, new: bool) -> None:
        try:
            self._on_step("sync_folder")
            self._sync_folder(entry.parent)
        except OSError:
            # A new one is not durable, so no later call may find it under its name. One that
            # existed may be referenced, and has the same content.
            if new:
                with suppress(OSError):
                    entry.rmdir() if entry.is_dir() else entry.unlink()
            raise

    def _sync(self, fd: int) -> None:
        if self._durable:
            os.fsync(fd)

    def _sync_folder(self, folder: Path) -> None:
        if self._durable:
            sync_folder(folder)
