"""Spools: blobs in memory up to a budget, beyond it in temporary files.

Every large array of a round is a spool, so memory is bounded for any size of model. The files are
unlinked when they are created, so a killed process leaves no files.

A memoryview that `Spool.read` returns is a lease on the spool's memory: it stays readable and
unchanged after the spool is closed, and the memory goes to another spool only if no view of it is
left (`lending.py`). Release a view with `with` or `release()`; a NumPy array over a view holds it
too. A view that is never released costs its memory, and never shows the bytes of another blob.
"""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fedbus.digest import hasher
from fedbus.errors import StoreError
from fedbus.lent_memory import is_lent

BLOCK_BYTES = 1024 * 1024
MIN_SPARE_BYTES = 64 * 1024
"""Smaller memory is not kept for the next spool, as it is cheap to allocate."""
MAX_SPARE_BYTES = 128 * 2**20


class Spool:
    """`size` bytes that can be written and read at any offset; a BlobSink and a BlobSource.

    A full disk must not end a service, so `write` does not raise; every later `read` does. A closed
    spool has no bytes, and `read` returns none.
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
        """Whether the bytes are in memory and count against the budget, or in a file."""
        return self._memory is not None

    def shorten(self, size: int) -> None:
        """Keep the first `size` bytes only; the budget counts the memory until the spool closes."""
        if size > self.size:
            raise StoreError(f"spool: {size} bytes of {self.size}")
        self.size = size

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write bytes at an offset; raise StoreError for bytes outside the spool."""
        if offset < 0 or offset + len(data) > self.size:
            raise StoreError(f"spool: bytes {offset} to {offset + len(data)} of {self.size}")
        if self._memory is not None:
            # Slice assignment to the bytearray itself would copy the data twice.
            with memoryview(self._memory) as whole:
                whole[offset : offset + len(data)] = data
        elif self._file is not None:
            self._write_file(self._file, offset, memoryview(data).cast("B"))

    def _write_file(self, file: int, offset: int, left: memoryview) -> None:
        try:
            while left:
                done = os.pwrite(file, left, offset)
                left, offset = left[done:], offset + done
        except OSError as error:
            self._fault = f"spool: {error.strerror}, in {self._budget.folder}"

    def read(self, offset: int, length: int) -> memoryview:
        """Return a view of up to `length` bytes at an offset; fewer where the spool ends.

        The view is a lease: release it after use, so that the next spool can use the memory. If the
        bytes are in a file, it is a view of a copy.

        Raises:
            StoreError: an earlier write failed, for example because the disk is full.
        """
        if self._fault:
            raise StoreError(self._fault)
        end = min(offset + length, self.size)
        if self._memory is not None:
            with memoryview(self._memory) as whole:
                return whole[offset:end]
        length = max(0, end - offset)
        return memoryview(b"" if self._file is None else os.pread(self._file, length, offset))

    def blocks(self, offset: int = 0, length: int = BLOCK_BYTES) -> Iterator[memoryview]:
        """Yield all bytes from an offset on, in blocks of `length`; raises as `read` does."""
        while offset < self.size:
            yield self.read(offset, min(length, self.size - offset))
            offset += length

    def digest(self) -> str:
        """Compute the digest of the content; raises as `read` does."""
        digest = hasher()
        for block in self.blocks():
            with block:
                digest.update(block)
        return digest.hexdigest()

    def close(self) -> None:
        """Return the memory to the budget, or delete the file; a second call does nothing.

        Views that `read` has returned stay readable: their memory is not used by another spool.
        """
        if self._memory is not None:
            memory, self._memory = self._memory, None
            self._budget.take_back(memory)
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self.size = 0


@dataclass(slots=True)
class Spools:
    """Factory of spools: in memory within `limit` bytes, else in unlinked files in `place`.

    Attributes:
        limit: Bytes of memory for all spools.
        place: Folder of the files; None: the system's folder for temporary files.
        used: Bytes of open spools in memory.
        spare: Bytes of returned memory kept for the next spool of its size: the kernel takes longer
            to zero a megabyte than the network to fill it. Memory with views is not counted.
    """

    limit: int
    place: Path | None = None
    used: int = 0
    spare: int = 0
    _spares: dict[int, list[bytearray]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder of the files."""
        return self.place or Path(tempfile.gettempdir())

    def make(self, size: int, *, zeros: bool = False) -> Spool:
        """Make a spool of `size` bytes; without `zeros` its initial content is arbitrary.

        Raises:
            StoreError: no file can be created.
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
        """Keep a closed spool's memory for the next one of its size, unless views of it exist."""
        size = len(memory)
        self.used -= size
        if size < MIN_SPARE_BYTES or is_lent(memory):
            return
        if self.spare + size > MAX_SPARE_BYTES or self.used + self.spare + size > self.limit:
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
