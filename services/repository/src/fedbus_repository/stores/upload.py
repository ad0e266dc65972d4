"""A blob that is being received: a file written in any order and hashed while chunks arrive.

Hashing a large blob only at its end would delay its round.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fedbus.atomic_write import os_errors_as_store_errors
from fedbus.digest import digest_of_file, hasher
from fedbus.errors import TransferError
from fedbus.wire.blobs import BlobRef
from fedbus_repository.stores.disk import OnStep, reserve_space

UNKNOWN_DIGEST = ""
"""Stands for the digest of content that is still to arrive."""
HASH_BLOCK_BYTES = 1024 * 1024
"""Bytes hashed at a time; a smaller blob is hashed at its end."""


@dataclass(frozen=True, slots=True)
class UploadContext:
    """What a blob folder provides to its uploads: a thread that hashes, and `keep`."""

    pool: Executor
    on_step: OnStep
    keep: Callable[["FileUpload"], None]


class FileUpload:
    """An `Upload` in one file, whose space is reserved at once; OSError if there is not enough.

    If it `may_be_shorter`, the reference has the largest size, perhaps `UNKNOWN_DIGEST`, and
    `verified` replaces it by that of what has arrived, which must have come in order.
    """

    def __init__(
        self,
        path: Path,
        blob_ref: BlobRef,
        context: UploadContext,
        *,
        may_be_shorter: bool = False,
    ) -> None:
        self.path = path
        self.blob_ref = blob_ref
        self._context, self._may_be_shorter = context, may_be_shorter
        self._error: OSError | None = None
        self._ahead: dict[int, int] = {}  # start to end of parts that arrived out of order
        self._complete = 0  # all bytes before this offset have arrived
        self._hash, self._hashed = hasher(), 0
        self._rewritten = False  # bytes were written again after they had arrived
        self._hashing: Future[None] | None = None
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            reserve_space(self.fd, blob_ref.size)
        except OSError:
            self.discard()
            raise

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write bytes at an offset; `keep` and `read` raise its error."""
        if self._error is not None or self.fd < 0:
            return
        left, at = memoryview(data), offset
        try:
            self._context.on_step("write")
            while left:
                written = os.pwrite(self.fd, left, at)
                left, at = left[written:], at + written
        except OSError as error:
            self._error = error
        else:
            self._record_arrival(offset, at)

    def read(self, offset: int, length: int) -> bytes:
        """Read bytes at an offset; raise StoreError if that fails, or a write did."""
        with os_errors_as_store_errors(self.path, "reading an upload"):
            self._raise_error()
            return os.pread(self.fd, length, offset)

    def finish(self) -> BlobRef:
        """Cut what was reserved and has not arrived; return the digest and size of the rest."""
        with os_errors_as_store_errors(self.path, "writing an upload"), self.hashing() as digest:
            pass
        return self.verified(digest())

    def keep(self) -> None:
        """Move it into the folder's blobs, durably."""
        self._context.keep(self)

    def verified(self, digest: str) -> BlobRef:
        """Return what has arrived, given its digest; raise TransferError if another is expected."""
        expected = self.blob_ref.digest
        if expected not in {UNKNOWN_DIGEST, digest}:
            raise TransferError(f"expected a blob of digest {expected[:12]}, got {digest[:12]}")
        if self._may_be_shorter:
            self.blob_ref = BlobRef(digest=digest, size=self._complete)
        return self.blob_ref

    @contextmanager
    def hashing(self) -> Iterator[Callable[[], str]]:
        """Hash the rest, while the `with` block runs if it is large; yield a call for the digest.

        At the end, raise OSError if a write failed or the content could not be read back.
        """
        self._wait()
        if self._may_be_shorter and self._error is None:
            os.ftruncate(self.fd, self._complete)  # what was reserved and did not arrive
        if self._complete - self._hashed < HASH_BLOCK_BYTES:
            self._hash_complete()
        else:
            self._hashing = self._context.pool.submit(self._hash_complete)
        try:
            yield lambda: digest_of_file(self.fd) if self._rewritten else self._hash.hexdigest()
        finally:
            self._wait()
        self._raise_error()

    def discard(self) -> None:
        """Close and delete the file; after `keep` there is no file to delete."""
        if self.fd < 0:
            return
        self._complete = 0  # stops hashing
        self._wait()
        os.close(self.fd)
        self.fd = -1
        with suppress(OSError):  # the next start deletes it
            self.path.unlink(missing_ok=True)

    def _record_arrival(self, start: int, end: int) -> None:
        self._rewritten = self._rewritten or start < self._complete
        self._ahead[start] = end
        while self._complete in self._ahead:
            self._complete = self._ahead.pop(self._complete)
        idle = self._hashing is None or self._hashing.done()
        if idle and self._complete - self._hashed >= HASH_BLOCK_BYTES:
            self._hashing = self._context.pool.submit(self._hash_complete)

    def _hash_complete(self) -> None:
        try:
            while (left := self._complete - self._hashed) > 0:
                block = os.pread(self.fd, min(HASH_BLOCK_BYTES, left), self._hashed)
                self._hash.update(block)
                self._hashed += len(block)
        except OSError as error:
            self._error = error

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _wait(self) -> None:
        if self._hashing is not None:
            wait((self._hashing,))
            self._hashing = None
