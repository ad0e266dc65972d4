"""Protocol of the place of a store's blobs: a folder, or GridFS."""

from collections.abc import Collection, Iterable
from typing import Protocol

from fedbus.core.blob_io import BlobSource
from fedbus.errors import StoreDamagedError
from fedbus.wire.blobs import BlobRef
from fedbus_repository.stores.base import Upload


class DamagedBlobError(StoreDamagedError):
    """A part of a blob is missing in its database, or has other bytes than were written.

    Its sentence says how to mend it.
    """


class BlobStorage(Protocol):
    """The blobs of a store, by their digest. Thread-safe. Faults raise StoreError."""

    def upload(self, blob: BlobRef) -> Upload:
        """Reserve space for a blob that is to be fetched."""

    def receive(self, most_bytes: int, digest: str | None = None) -> Upload:
        """Reserve space for content of at most this size, which arrives in order."""

    def holds(self, blob: BlobRef) -> bool:
        """Return whether a blob exists and is intact; reads all of its content."""

    def require(self, blob: BlobRef, what: str) -> None:
        """Raise StoreError unless a blob exists in its size; `what` names it."""

    def open(self, digest: str) -> BlobSource | None:
        """Open a blob for reading; the last few stay open."""

    def opened(self, digest: str) -> BlobSource | None:
        """Return a blob that is open already and not deleted; never waits."""

    def delete(self, digests: Iterable[str]) -> None:
        """Delete blobs; those that cannot be deleted now are deleted at the next start."""

    def sweep(self, referenced: Collection[str]) -> None:
        """Delete all other blobs, which were kept for a commit that was never inserted."""

    def close(self) -> None:
        """Release all files and threads."""
