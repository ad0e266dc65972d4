"""Open data file: a task reads the file that was loaded, even if another one replaces it."""

import io
import os
import weakref
from pathlib import Path
from typing import BinaryIO, cast

from fedbus.errors import TrainingError

BUFFER_BYTES = 256 * 1024


class OpenFile:
    """A file that stays open, so that one renamed over it is read only after the next load.

    Raises:
        TrainingError: the path cannot be opened, or is not a regular file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise TrainingError(f"{path}: {'not a file' if path.exists() else 'No such file'}")
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise TrainingError(f"{path}: {error.strerror}") from error
        weakref.finalize(self, os.close, self._descriptor)
        self._state = self._now()

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self._state[0]

    def open(self) -> BinaryIO:
        """Open another reader of the file; raise TrainingError if it was written to since."""
        if self._now() != self._state:
            raise TrainingError(
                f"{self.path}: the file was changed while in use; write a new file and "
                "rename it over this one"
            )
        return cast("BinaryIO", io.BufferedReader(_View(self, self._descriptor), BUFFER_BYTES))

    def _now(self) -> tuple[int, int]:
        found = os.fstat(self._descriptor)
        return found.st_size, found.st_mtime_ns


class _View(io.RawIOBase):
    """Position of one reader in a file that several read."""

    def __init__(self, file: OpenFile, descriptor: int) -> None:
        super().__init__()
        self._file = file  # keeps the descriptor open while there is a reader
        self._descriptor = descriptor
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._file.size}[whence]
        if origin + offset < 0:
            raise OSError(f"{self._file.path}: before its beginning")
        self._at = origin + offset
        return self._at

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override] # accepts any buffer
        count = os.preadv(self._descriptor, [buffer], self._at)
        self._at += count
        return count
