"""A file as it was when it was loaded: a task never reads half of an old one and half of a new."""

import io
import os
import weakref
from pathlib import Path
from typing import BinaryIO, cast

from fedbus.errors import TrainingError

BUFFER = 256 * 1024


class OpenFile:
    """Hold a file open, so that one renamed over it takes its place only at the next load.

    Raises:
        TrainingError: it cannot be opened, or is no plain file.
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
        self._stamp = self._now()

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self._stamp[0]

    def open(self) -> BinaryIO:
        """Read it from its beginning, beside whoever else does.

        Raises:
            TrainingError: it was written to since it was loaded.
        """
        if self._now() != self._stamp:
            raise TrainingError(
                f"{self.path}: it was written to while it was in use; write a new file and "
                "rename it over this one"
            )
        return cast("BinaryIO", io.BufferedReader(_View(self, self._descriptor), BUFFER))

    def _now(self) -> tuple[int, int]:
        found = os.fstat(self._descriptor)
        return found.st_size, found.st_mtime_ns


class _View(io.RawIOBase):
    """One reader's own position in a file that many read."""

    def __init__(self, file: OpenFile, descriptor: int) -> None:
        super().__init__()
        self._file = file  # it closes the descriptor when nobody reads any more
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

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override] # any buffer will do
        count = os.preadv(self._descriptor, [buffer], self._at)
        self._at += count
        return count
