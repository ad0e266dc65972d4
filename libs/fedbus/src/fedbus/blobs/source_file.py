"""Blob source as an open file, for readers of file formats such as zipfile."""

import io
import os
from collections.abc import Callable


class SourceFile(io.RawIOBase):
    """A file that is read from where a blob's bytes are; wrap it in `io.BufferedReader`.

    Args:
        read: Returns up to a number of bytes at an offset, as `BlobSource.read`; its errors pass.
        size: Bytes of the blob.
    """

    def __init__(self, read: Callable[[int, int], bytes | memoryview], size: int) -> None:
        super().__init__()
        self._read, self._size, self._at = read, size, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to an offset and return it; raise ValueError for one before the beginning."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"offset {start + offset} is before the beginning of the blob")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: "memoryview", /) -> int:  # type: ignore[override]
        """Read into a buffer; return the number of bytes, 0 at the end."""
        block = self._read(self._at, max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(block)] = block
        self._at += len(block)
        return len(block)
