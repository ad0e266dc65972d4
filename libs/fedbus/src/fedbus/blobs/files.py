"""Blob in a file, to be served from there without waiting for its disk.

`read_now` returns what the kernel has in memory. On Linux one call tells (`RWF_NOWAIT`), where the
file system supports it. Where it does not (tmpfs, overlayfs, NFS, macOS), `read` keeps the whole
mebibyte that it read, so that one wait in a thread serves four chunks.
"""

import errno
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

from fedbus.atomic_write import store_error_of
from fedbus.blobs.block_cache import BlockCache
from fedbus.digest import digest_of_file
from fedbus.errors import StoreError

NO_WAIT: Final[int] = getattr(os, "RWF_NOWAIT", 0)
"""Flag of `preadv`; 0 where the system has none."""
AHEAD_BYTES: Final = 4 * 1024 * 1024
"""Bytes that the kernel is asked to read ahead, after `read` had to wait."""
BLOCK_BYTES: Final = 1024 * 1024
KEPT_BYTES: Final = 8 * 1024 * 1024
"""Memory for blocks of all files whose file system does not say what is in memory."""

_kept_blocks = BlockCache(KEPT_BYTES)
_numbers = count()
_scratch = threading.local()


class FileBlob:
    """A blob at the beginning of an open file, read chunk by chunk; a WaitingSource.

    The object owns the file and closes it when the object is deleted; until then the content can be
    served, even if the file is unlinked. Reads are safe from several threads.

    Attributes:
        size: The content's size in bytes; that of the file when it was opened, unless given.
    """

    def __init__(self, file: int, path: Path | str, size: int | None = None) -> None:
        """Take ownership of an open file descriptor; `path` is for error messages."""
        self.path = path
        self._file = file
        self.size = os.fstat(file).st_size if size is None else size
        self._number = next(_numbers)
        self._no_wait = NO_WAIT
        self._waited = False
        weakref.finalize(self, os.close, file)

    def read_now(self, offset: int, length: int) -> bytes | memoryview | None:
        """Return up to `length` bytes at an offset if they are in memory; None: `read` waits.

        A memoryview is valid until this thread calls `read_now` again, of any file. Raises
        StoreError if the file cannot be read.
        """
        wanted = min(length, max(self.size - offset, 0))
        found = self._read_no_wait(offset, wanted) if self._no_wait else None
        if found is None and not self._no_wait:
            block = _kept_blocks.get(self._number, offset // BLOCK_BYTES)
            begin = offset % BLOCK_BYTES
            if block is not None and begin + wanted <= len(block):
                return memoryview(block)[begin : begin + wanted]
        self._waited = found is None
        return found

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes at an offset; raise StoreError if the file cannot be read."""
        wanted = min(length, max(self.size - offset, 0))
        with self._translated():
            if self._waited and not self._no_wait and 0 < wanted <= BLOCK_BYTES:
                return self._read_block(offset, wanted)
            if self._waited and hasattr(os, "posix_fadvise"):
                self._waited = False
                os.posix_fadvise(self._file, offset, AHEAD_BYTES, os.POSIX_FADV_WILLNEED)
            return os.pread(self._file, wanted, offset)

    def digest(self) -> str:
        """Compute the content's digest; raise StoreError if the file cannot be read."""
        with self._translated():
            return digest_of_file(self._file, self.size)

    def _read_no_wait(self, offset: int, wanted: int) -> memoryview | None:
        view = memoryview(_scratch_of(wanted))[:wanted]
        try:
            found = os.preadv(self._file, [view], offset, self._no_wait)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS} and offset >= 0:
                self._no_wait = 0
                return None
            raise self._error(error) from error
        return view if found == wanted else None

    def _read_block(self, offset: int, wanted: int) -> bytes:
        index, begin = divmod(offset, BLOCK_BYTES)
        if begin + wanted > BLOCK_BYTES:
            return os.pread(self._file, wanted, offset)
        start = index * BLOCK_BYTES
        block = os.pread(self._file, min(BLOCK_BYTES, self.size - start), start)
        _kept_blocks.put(self._number, index, [block])
        return block[begin : begin + wanted]

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._error(error) from error

    def _error(self, error: OSError) -> StoreError:
        return store_error_of(self.path, error, "reading a blob")


def open_blob(path: Path | str) -> FileBlob:
    """Open a file as a blob.

    Raises:
        OSError: the file cannot be opened; FileNotFoundError if it does not exist.
    """
    return FileBlob(os.open(path, os.O_RDONLY | os.O_CLOEXEC), path)


def _scratch_of(size: int) -> bytearray:
    """Return this thread's memory for one read: zeroing new memory would cost half a read."""
    found: bytearray | None = getattr(_scratch, "memory", None)
    if found is None or len(found) < size:
        found = _scratch.memory = bytearray(size)
    return found
