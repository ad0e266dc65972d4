"""Blob in a file, to be served from there."""

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedbus.digest import digest_of_file
from fedbus.errors import StoreError


class FileBlob:
    """A blob at the beginning of an open file, read chunk by chunk; a BlobSource.

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
        weakref.finalize(self, os.close, file)

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes at an offset; raise StoreError if the file cannot be read."""
        with self._translated():
            return os.pread(self._file, min(length, max(self.size - offset, 0)), offset)

    def digest(self) -> str:
        """Compute the content's digest; raise StoreError if the file cannot be read."""
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
        OSError: the file cannot be opened; FileNotFoundError if it does not exist.
    """
    return FileBlob(os.open(path, os.O_RDONLY | os.O_CLOEXEC), path)
