"""Interfaces for the bytes of blobs: where a download writes them, where an upload reads them."""

from typing import Protocol


class BlobSink(Protocol):
    """Destination of the bytes of a blob that arrives, in any order."""

    def write(self, offset: int, data: bytes | memoryview, /) -> None:
        """Write bytes at an offset."""


class BlobSource(Protocol):
    """Source of the bytes of a served blob."""

    @property
    def size(self) -> int:
        """Size of the blob in bytes."""

    def read(self, offset: int, length: int, /) -> bytes | memoryview:
        """Return `length` bytes at an offset; a memoryview is a lease: release it after use."""


class WaitingSource(BlobSource, Protocol):
    """Source whose `read` may wait for a disk or a database: it is called in a thread then."""

    def read_now(self, offset: int, length: int, /) -> bytes | memoryview | None:
        """Return bytes that are in memory; None: `read` waits for them.

        A memoryview is valid until this thread calls `read_now` again, of any source.
        """


class BlobFinder(Protocol):
    """Finds the stored blobs that a node serves without `Serve`. Thread-safe."""

    def opened_blob(self, digest: str, /) -> BlobSource | None:
        """Return a blob that is open already; never waits."""

    def open_blob(self, digest: str, /) -> BlobSource | None:
        """Open a blob, in a thread; None: it is not stored. Raises StoreError."""
