"""A blob in a file, as it is served from there."""

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedbus.digest import digest_of_file
from fedbus.errors import StoreError


class FileBlob:
    """A blob at the beginning of an open file, read chunk by chunk; a BlobSource.

    It owns the file, which is closed with the last reference to this object: until then the content
    can be served, even if the file's name is deleted. Reads are safe from several threads.

    Attributes:
        size: The content's size in bytes; that of the file when it was opened, unless given.
    """

    def __init__(self, file: int, path: Path | str, size: int | None = None) -> None:
        """Take over an open file descriptor; `path` is named in errors."""
        self.path = path
        self._file = file
        self.size = os.fstat(file).st_size if size is None else size
        weakref.finalize(self, os.close, file)

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes at an offset.

        Raises:
            StoreError: the disk cannot read them.
        """
        with self._translated():
            return os.pread(self._file, min(length, max(self.size - offset, 0)), offset)

    def digest(self) -> str:
        """Compute the digest of the content as it is now.

        Raises:
            StoreError: the disk cannot read it.
        """
        with self._translated():
            return digest_of_file(self._file, self.size)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"reading a blob: {self.path}: {error.strerror or error}") from error


def open_blob(path: Path | str) -> FileBlob:
    """Open a file as a blob.

    Raises:
        OSError: it cannot be opened; FileNotFoundError if it does not exist.
    """
    return FileBlob(os.open(path, os.O_RDONLY | os.O_CLOEXEC), path)
