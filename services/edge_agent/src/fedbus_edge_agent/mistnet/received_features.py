"""Features of other agents on the disk of the agent that trains on them.

They stay until the job ends: its later rounds, and a restarted agent, need not fetch them again.
"""

import mmap
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Final, Self

from fedbus.atomic_write import PRIVATE, open_atomic, os_errors_as_store_errors
from fedbus.blobs.spool import Spool
from fedbus.digest import digest_of
from fedbus.errors import TransferError
from fedbus.wire.blobs import BlobRef

MAX_RECEIVED_JOBS: Final = 8
"""Jobs whose features are kept: an agent is not always told when a job ends."""


@dataclass(frozen=True, slots=True)
class ReceivedFeatureFiles:
    """One folder for each job, with a file for each blob, named by its digest."""

    folder: Path

    @classmethod
    def of(cls, home: Path) -> Self:
        """Return the files of the agent with this outbox."""
        return cls(home / "received-features")

    def has(self, job: str, blob_ref: BlobRef) -> bool:
        """Return whether a blob is on the disk, with its size."""
        try:
            return self._path(job, blob_ref).stat().st_size == blob_ref.size
        except OSError:
            return False

    def save(self, job: str, blob_ref: BlobRef, spool: Spool) -> None:
        """Write a blob that has arrived.

        Raises:
            TransferError: Its bytes are not those of its digest.
            StoreError: The disk is full or not writable.
        """
        if spool.digest() != blob_ref.digest:
            raise TransferError(f"{blob_ref.digest[:12]}: other bytes than its digest names")
        path = self._path(job, blob_ref)
        with os_errors_as_store_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open_atomic(path, mode=PRIVATE) as file:
                for block in spool.blocks():
                    with block:
                        file.write(block)
        self._remove_oldest(job)

    def read(self, job: str, blob_ref: BlobRef) -> mmap.mmap:
        """Return a blob's bytes, mapped to memory; a damaged one is removed.

        Raises:
            TransferError: The file is damaged, or empty.
            StoreError: It cannot be read.
        """
        path = self._path(job, blob_ref)
        if not self.has(job, blob_ref) or not blob_ref.size:
            raise TransferError(f"{path}: not the {blob_ref.size} bytes that were announced")
        with os_errors_as_store_errors(path), path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        with memoryview(mapped) as view:
            damaged = digest_of(view) != blob_ref.digest
        if damaged:
            with suppress(OSError):
                path.unlink()
            raise TransferError(f"{path}: damaged on the disk; it is fetched again")
        return mapped

    def remove(self, job: str) -> None:
        """Remove the features of a job, as far as the disk allows it."""
        rmtree(self.folder / job, ignore_errors=True)

    def _remove_oldest(self, job: str) -> None:
        folders = [path for path in self.folder.iterdir() if path.is_dir() and path.name != job]
        for path in sorted(folders, key=_modified)[: 1 - MAX_RECEIVED_JOBS]:
            self.remove(path.name)

    def _path(self, job: str, blob_ref: BlobRef) -> Path:
        return self.folder / job / blob_ref.digest


def _modified(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0
