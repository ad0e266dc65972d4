"""Where blobs lie while they are received, folded and served: in memory up to a budget, else in a file.

Every big array of a round is a spool, so memory is bounded whatever the model's size. The files have no
name (they are unlinked as they are made), so a killed process leaves nothing behind.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedbus.errors import StoreError

BLOCK_BYTES = 1024 * 1024


class Spool:
    """`size` bytes that can be written and read at any offset; a Sink and a Source."""

    def __init__(
        self, size: int, memory: bytearray | None, file: int | None, budget: "Spools"
    ) -> None:
        self.size = size
        self._memory = memory
        self._file = file
        self._budget = budget

    @property
    def in_memory(self) -> bool:
        """Whether it counts against the budget."""
        return self._memory is not None

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Put bytes at an offset.

        Raises:
            StoreError: the bytes lie beyond the size, or the disk is full.
        """
        if offset < 0 or offset + len(data) > self.size:
            raise StoreError(f"spool: bytes {offset} to {offset + len(data)} of {self.size}")
        if self._memory is not None:
            self._memory[offset : offset + len(data)] = data
            return
        assert self._file is not None  # noqa: S101 - a spool is one or the other
        try:
            left = memoryview(data).cast("B")
            while left:
                done = os.pwrite(self._file, left, offset)
                left, offset = left[done:], offset + done
        except OSError as error:
            raise StoreError(f"spool: {error.strerror} after {self._budget.place}") from error

    def read(self, offset: int, length: int) -> bytes | memoryview:
        """Take bytes at an offset; a view where they are in memory."""
        if self._memory is not None:
            return memoryview(self._memory)[offset : offset + length]
        assert self._file is not None  # noqa: S101 - a spool is one or the other
        return os.pread(self._file, length, offset)

    def blocks(self, offset: int = 0, length: int = BLOCK_BYTES) -> Iterator[bytes | memoryview]:
        """Read all from an offset on, a block at a time."""
        while offset < self.size:
            yield self.read(offset, min(length, self.size - offset))
            offset += length

    def digest(self) -> str:
        """Name the content: sha256, hex."""
        sha = hashlib.sha256()
        for block in self.blocks():
            sha.update(block)
        return sha.hexdigest()

    def close(self) -> None:
        """Give the room back; twice is once."""
        if self._memory is not None:
            self._budget.used -= self.size
            self._memory = None
            self.size = 0
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self.size = 0


@dataclass(slots=True)
class Spools:
    """Make spools: in memory while `limit` bytes allow it, else in unlinked files in `place`."""

    limit: int
    place: Path | None = None
    used: int = 0

    def make(self, size: int) -> Spool:
        """Make a spool of zeros."""
        if self.used + size <= self.limit:
            self.used += size
            return Spool(size, bytearray(size), None, self)
        file, name = tempfile.mkstemp(dir=self.place, prefix="fedbus-spool-")
        os.unlink(name)
        os.ftruncate(file, size)
        return Spool(size, None, file, self)
