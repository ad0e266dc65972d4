"""Where blobs lie while they are received, folded and served: in memory up to a budget, else files.

Every big array of a round is a spool, so memory is bounded whatever the model's size. The files
have no name (they are unlinked as they are made), so a killed process leaves nothing behind.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fedbus.digests import hasher
from fedbus.errors import StoreError

BLOCK_BYTES = 1024 * 1024
SPARE_FROM = 64 * 1024
SPARE_MOST = 128 * 2**20
_REFERENCES = 3
"""To a closed spool's memory: of `close`, of `take_back`, and of who counts them."""


class Spool:
    """`size` bytes that can be written and read at any offset; a Sink and a Source.

    A full disk must not end a service, so `write` keeps silent about it: whoever reads is told. A
    spool that was closed holds no bytes: whoever still wants some gets none.
    """

    def __init__(
        self, size: int, memory: bytearray | None, file: int | None, budget: "Spools"
    ) -> None:
        self.size = size
        self._memory = memory
        self._file = file
        self._budget = budget
        self._fault = ""

    @property
    def in_memory(self) -> bool:
        """Whether it counts against the budget."""
        return self._memory is not None

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Put bytes at an offset.

        Raises:
            StoreError: the bytes lie beyond the size.
        """
        if offset < 0 or offset + len(data) > self.size:
            raise StoreError(f"spool: bytes {offset} to {offset + len(data)} of {self.size}")
        if self._memory is not None:
            # A bytearray would copy what it is given before it copies that into itself.
            memoryview(self._memory)[offset : offset + len(data)] = data
        elif self._file is not None:
            self._write_file(self._file, offset, memoryview(data).cast("B"))

    def _write_file(self, file: int, offset: int, left: memoryview) -> None:
        try:
            while left:
                done = os.pwrite(file, left, offset)
                left, offset = left[done:], offset + done
        except OSError as error:
            self._fault = f"spool: {error.strerror}, in {self._budget.folder}"

    def read(self, offset: int, length: int) -> bytes | memoryview:
        """Take bytes at an offset; a view where they are in memory.

        Raises:
            StoreError: some that were written are not there: the disk is full, say.
        """
        if self._fault:
            raise StoreError(self._fault)
        if self._memory is not None:
            return memoryview(self._memory)[offset : offset + length]
        return b"" if self._file is None else os.pread(self._file, length, offset)

    def blocks(self, offset: int = 0, length: int = BLOCK_BYTES) -> Iterator[bytes | memoryview]:
        """Read all from an offset on, a block at a time.

        Raises:
            StoreError: see `read`.
        """
        while offset < self.size:
            yield self.read(offset, min(length, self.size - offset))
            offset += length

    def digest(self) -> str:
        """Name the content by its digest.

        Raises:
            StoreError: see `read`.
        """
        sha = hasher()
        for block in self.blocks():
            sha.update(block)
        return sha.hexdigest()

    def close(self) -> None:
        """Give the room back; twice is once."""
        if self._memory is not None:
            memory, self._memory = self._memory, None
            self._budget.take_back(memory)
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self.size = 0


@dataclass(slots=True)
class Spools:
    """Make spools: in memory while `limit` bytes allow it, else in unlinked files in `place`.

    Memory that was given back waits for the next spool of its size: a kernel takes longer to make a
    megabyte of zeros than the network to fill it.
    """

    limit: int
    place: Path | None = None
    used: int = 0
    spare: int = 0
    _spares: dict[int, list[bytearray]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self.place or Path(tempfile.gettempdir())

    def make(self, size: int, *, zeros: bool = False) -> Spool:
        """Make a spool; what is in it, before it is written, is anything unless `zeros` are wanted.

        Raises:
            StoreError: no file can be made for it.
        """
        if self.used + size > self.limit:
            return Spool(size, None, self._make_file(size), self)
        self.used += size
        waiting = self._spares.get(size)
        if waiting:
            self.spare -= size
            memory = waiting.pop()
            if zeros:
                np.frombuffer(memory, np.uint8).fill(0)
            return Spool(size, memory, None, self)
        if self.used + self.spare > self.limit:
            self._drop_spares()
        return Spool(size, bytearray(size), None, self)

    def take_back(self, memory: bytearray) -> None:
        """Keep a closed spool's memory for the next, unless somebody still has a view of it."""
        size = len(memory)
        self.used -= size
        if size < SPARE_FROM or sys.getrefcount(memory) > _REFERENCES:
            return
        if self.spare + size > SPARE_MOST or self.used + self.spare + size > self.limit:
            self._drop_spares()
        self._spares.setdefault(size, []).append(memory)
        self.spare += size

    def _drop_spares(self) -> None:
        self._spares.clear()
        self.spare = 0

    def _make_file(self, size: int) -> int:
        try:
            file, name = tempfile.mkstemp(dir=self.place, prefix="fedbus-spool-")
        except OSError as error:
            raise StoreError(f"spool: {error.strerror}, in {self.folder}") from error
        try:
            Path(name).unlink()
            os.ftruncate(file, size)
        except OSError as error:
            os.close(file)
            raise StoreError(f"spool: {error.strerror}, in {self.folder}") from error
        return file
