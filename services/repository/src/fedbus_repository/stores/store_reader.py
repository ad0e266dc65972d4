"""Protocols of a store that is copied or checked as a whole, beside its repository."""

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from fedbus.core.blob_io import BlobSource
from fedbus.errors import StoreError, TransferError
from fedbus.wire.blobs import BlobRef
from fedbus_repository.stores.blob_storage import BlobStorage
from fedbus_repository.stores.dumped_records import DumpedRecord, UnreadableRecord

COPY_BYTES: Final = 4 * 2**20
"""Bytes of a blob that are copied at a time."""


class StoreReader(Protocol):
    """All that a store holds, at one moment: also of a store that a repository uses meanwhile.

    Errors of the database raise StoreError.
    """

    @property
    def place(self) -> str:
        """Where the store is, without a password."""

    def records(self) -> Iterator[DumpedRecord | UnreadableRecord]:
        """Read every record, in the order of a dump."""

    def damage(self) -> Iterator[str]:
        """Check the database itself, and yield a sentence for each fault."""

    def blobs(self) -> Iterator[tuple[str, int]]:
        """Return digest and size of every blob that is stored, whether a record needs it or not."""

    def open_blob(self, digest: str) -> BlobSource | None:
        """Open a blob; None if it is not stored."""

    def refresh(self) -> None:
        """Read from now on what the store holds now."""

    def close(self) -> None:
        """Release the store."""


class StoreWriter(Protocol):
    """A new store that is filled from a dump: whole after `finish`, not usable before it."""

    def add_records(self, records: Iterable[DumpedRecord]) -> None:
        """Write records, in the order of a dump; those of an earlier, unfinished copy are gone."""

    def has_blob(self, digest: str, size: int) -> bool:
        """Return whether a blob was copied before, in this size."""

    def add_blob(self, digest: str, source: BlobSource) -> None:
        """Copy a blob; raise StoreError if its content does not have the digest."""

    def reader(self) -> StoreReader:
        """Open what was written, to compare it."""

    def finish(self) -> None:
        """Make the store usable; all that was written is durable then."""

    def close(self) -> None:
        """Release the store; unfinished, it continues with the next copy of the same source."""


def copy_blob(digest: str, source: BlobSource, blobs: BlobStorage) -> None:
    """Copy a blob into a store's blobs; raise StoreError if its content has another digest."""
    upload = blobs.upload(BlobRef(digest=digest, size=source.size))
    try:
        for offset in range(0, source.size, COPY_BYTES):
            upload.write(offset, source.read(offset, COPY_BYTES))
        upload.keep()
    except TransferError as error:
        raise StoreError(f"blob {digest} is damaged: {error}") from error
    finally:
        upload.discard()
