"""Blobs as files named by their digest, in one folder: `blobs/ab/abcdef…`.

A blob is written to `uploads/`, its digest verified, synced, renamed into place and the folder
synced: at no moment is there half a blob under a digest. A sync that failed is never repeated as if
it had not: the pages it failed on may be gone, so the whole file is given up and must be fetched
again.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path

from fedbus.atomic_write import sync_folder
from fedbus.blobs.files import FileBlob, open_blob
from fedbus.errors import TransferError
from fedbus.wire.blobs import BlobRef
from fedbus_repository.stores.disk import At, translated
from fedbus_repository.stores.upload import FileUpload, UploadContext

OPEN_FILES = 64


class BlobFolder:
    """All blobs of a store. Thread-safe.

    `durable=False` syncs nothing, for tests that throw it away.

    Raises:
        StoreError: the folder cannot be written.
    """

    def __init__(self, folder: Path, *, durable: bool = True, at: At = lambda _: None) -> None:
        self._blobs, self._uploads = folder / "blobs", folder / "uploads"
        self._durable, self._at = durable, at
        self._numbers = count()
        self._open: OrderedDict[str, FileBlob] = OrderedDict()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hash")
        self._yard = UploadContext(self._pool, at, self._keep)
        with translated("preparing the store", folder):
            for each in (self._blobs, self._uploads):
                each.mkdir(parents=True, exist_ok=True)
            self._sync_folder(folder)
            for left in self._uploads.iterdir():
                left.unlink()

    def path(self, digest: str) -> Path:
        """Where a blob lies, if it does."""
        return self._blobs / digest[:2] / digest

    def upload(self, blob: BlobRef) -> FileUpload:
        """Reserve room for a blob that is to be fetched.

        Raises:
            StoreError: there is no such room.
        """
        path = self._uploads / f"{blob.digest}.{next(self._numbers)}"
        with translated(f"reserving {blob.size} bytes", path):
            self._at("reserve")
            return FileUpload(path, blob, self._yard)

    def holds(self, blob: BlobRef) -> bool:
        """Tell whether a blob is here and sound: its content is read."""
        source = self.open(blob.digest)
        return source is not None and source.size == blob.size and source.digest() == blob.digest

    def open(self, digest: str) -> FileBlob | None:
        """Find a blob that can be read; the last few stay open, so that a chunk costs one read."""
        with self._lock:
            source = self._open.get(digest)
            if source is None:
                try:
                    source = open_blob(self.path(digest))
                except OSError:
                    return None
                self._open[digest] = source
                if len(self._open) > OPEN_FILES:
                    self._open.popitem(last=False)
            self._open.move_to_end(digest)
            return source

    def delete(self, digests: Iterable[str]) -> None:
        """Delete blobs. Those that cannot be deleted stay until the next start's sweep."""
        for digest in digests:
            with self._lock:
                self._open.pop(digest, None)
            with suppress(OSError):
                self._at("unlink")
                self.path(digest).unlink(missing_ok=True)

    def sweep(self, named: Collection[str]) -> None:
        """Delete every blob but those named: what was kept for a commit that never came true."""
        self.delete([path.name for path in self._blobs.glob("??/*") if path.name not in named])

    def close(self) -> None:
        """Let go of files and threads."""
        self._pool.shutdown()
        with self._lock:
            self._open.clear()

    def _keep(self, upload: FileUpload) -> None:
        try:
            with translated(f"writing {upload.blob_ref.size} bytes", upload.path):
                self._verify(upload)
                self._settle(upload)
        finally:
            upload.discard()

    def _verify(self, upload: FileUpload) -> None:
        wanted = upload.blob_ref.digest
        with upload.hashing() as digest:
            self._at("sync")
            self._sync(upload.fd)
        if digest() != wanted:
            raise TransferError(f"blob {wanted[:12]} holds something else: {digest()[:12]}")

    def _settle(self, upload: FileUpload) -> None:
        target = self.path(upload.blob_ref.digest)
        if not target.parent.exists():
            target.parent.mkdir(exist_ok=True)
            self._sync_entry(target.parent)
        self._at("rename")
        upload.path.replace(target)
        with self._lock:
            self._open.pop(target.name, None)  # what it replaces was damaged
        self._sync_entry(target)

    def _sync_entry(self, new: Path) -> None:
        try:
            self._at("sync_folder")
            self._sync_folder(new.parent)
        except OSError:
            # Found under its name, it would be taken for durable.
            with suppress(OSError):
                new.rmdir() if new.is_dir() else new.unlink()
            raise

    def _sync(self, fd: int) -> None:
        if self._durable:
            os.fsync(fd)

    def _sync_folder(self, folder: Path) -> None:
        if self._durable:
            sync_folder(folder)
