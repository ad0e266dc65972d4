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
