"""A blob on its way into a folder: a file that is written in any order and hashed while it arrives.

Hashing takes its time, so a large blob that is hashed only at its end makes its round wait.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fedbus.digest import digest_of_file, hasher
from fedbus.wire.blobs import BlobRef
from fedbus_repository.stores.disk import At, translated

BLOCK = 1024 * 1024
"""Bytes hashed at a time; a smaller blob is hashed at its end."""


@dataclass(frozen=True, slots=True)
class UploadContext:
    """What a folder lends its uploads: a thread to hash in, and the way to keep one."""

    pool: Executor
    at: At
    keep: Callable[["FileUpload"], None]


class FileUpload:
    """An `Upload` in one file, whose room is reserved before the first byte arrives.

    Raises:
        OSError: there is no room.
    """

    def __init__(self, path: Path, blob_ref: BlobRef, yard: UploadContext) -> None:
        self.path = path
        self.blob_ref = blob_ref
        self._yard = yard
        self._error: OSError | None = None
        self._ahead: dict[int, int] = {}  # arrived out of order: from, to
        self._upto = 0  # all bytes before have arrived
        self._hash, self._hashed = hasher(), 0
        self._again = False  # hashed bytes were written again
        self._working: Future[None] | None = None
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _reserve(self.fd, blob_ref.size)
        except OSError:
            self.discard()
            raise

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Put bytes at an offset; what goes wrong is told when it is to be kept."""
        if self._error is not None or self.fd < 0:
            return
        left, at = memoryview(data), offset
        try:
            self._yard.at("write")
            while left:
                written = os.pwrite(self.fd, left, at)
                left, at = left[written:], at + written
        except OSError as error:
            self._error = error
        else:
            self._arrived(offset, at)

    def read(self, offset: int, length: int) -> bytes:
        """Take bytes at an offset.

        Raises:
            StoreError: a write has failed, so the bytes may not be those that came.
        """
        with translated("reading what was uploaded", self.path):
            self._check()
            return os.pread(self.fd, length, offset)

    def keep(self) -> None:
        """Become a blob of the folder, durably."""
        self._yard.keep(self)

    @contextmanager
    def hashing(self) -> Iterator[Callable[[], str]]:
        """Hash the rest, beside the `with` block if it is large; then the call tells the digest.

        Raises:
            OSError: a write has failed, or the content cannot be read back.
        """
        self._wait()
        if self._upto - self._hashed < BLOCK:
            self._hash_on()
        else:
            self._working = self._yard.pool.submit(self._hash_on)
        try:
            yield lambda: digest_of_file(self.fd) if self._again else self._hash.hexdigest()
        finally:
            self._wait()
        self._check()

    def discard(self) -> None:
        """Close and delete the file; after a rename there is nothing to delete."""
        if self.fd < 0:
            return
        self._upto = 0  # nothing more to hash
        self._wait()
        os.close(self.fd)
        self.fd = -1
        with suppress(OSError):  # it is swept at the next start
            self.path.unlink(missing_ok=True)

    def _arrived(self, start: int, end: int) -> None:
        self._again = self._again or start < self._upto
        self._ahead[start] = end
        while self._upto in self._ahead:
            self._upto = self._ahead.pop(self._upto)
        idle = self._working is None or self._working.done()
        if idle and self._upto - self._hashed >= BLOCK:
            self._working = self._yard.pool.submit(self._hash_on)

    def _hash_on(self) -> None:
        try:
            while (left := self._upto - self._hashed) > 0:
                block = os.pread(self.fd, min(BLOCK, left), self._hashed)
                self._hash.update(block)
                self._hashed += len(block)
        except OSError as error:
            self._error = error

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _wait(self) -> None:
        if self._working is not None:
            wait((self._working,))
            self._working = None


def _reserve(fd: int, size: int) -> None:
    # macOS cannot reserve; there a full disk shows at a write.
    if size and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
    else:
        os.ftruncate(fd, size)
