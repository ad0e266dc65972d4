"""Updates on the agent's disk, from before they are offered until they may be removed.

What an agent has once offered never changes: a restarted agent offers the same bytes, or none.
Nothing is fsynced, and nothing renamed: a kill loses nothing that was offered, and what it or a
power cut tears has no offer at its end, or fails its digest, and counts as lost.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fedbus.blobs.files import FileBlob, open_blob
from fedbus.errors import StoreError, WireError
from fedbus.model.blob import Blob
from fedbus.wire import codec
from fedbus.wire.identifiers import NodeName
from fedbus.wire.messages import Offer

_NEW = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOffer:
    """An offer as it lies on disk, and whom it is for."""

    collector: NodeName
    offer: Offer


class Outbox:
    """One `folder` with a file `{job}~{task}.update` for each update.

    A file holds the update's bytes, its offer in JSON, and the length of that in 4 bytes. One file
    and not two: to create and to remove a file takes longer than to write a small update.

    Raises:
        StoreError: the folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder}: {error.strerror}") from error

    def keep(self, kept: StoredOffer, update: Blob) -> FileBlob:
        """Write an update and its offer; return it ready to be served.

        Raises:
            StoreError: the disk is full or not writable; nothing is kept then.
        """
        job, task, size = kept.offer.job, kept.offer.task, memoryview(update).nbytes
        note = codec.to_json(kept)
        try:
            file = self._open(self._path(job, task))
            try:
                for part in (update, note + len(note).to_bytes(_LENGTH_BYTES)):
                    _write(file, part)
            except OSError:
                os.close(file)  # an open file takes room on the disk, removed or not
                with suppress(OSError):
                    self.remove(job, task)
                raise
        except OSError as error:
            raise StoreError(f"{self.folder}: {error.strerror}") from error
        return FileBlob(file, self._path(job, task), size)

    def remove(self, job: str, task: int) -> None:
        """Remove an update: it counts, or never will."""
        with suppress(FileNotFoundError):
            os.remove(self._path(job, task))  # noqa: PTH107 - see `_path`

    def load(self) -> list[tuple[StoredOffer, FileBlob]]:
        """Open what an earlier process of this agent left whole; remove what is torn."""
        found = []
        for path in sorted(self.folder.glob("*.update")):
            if whole := self._read(path):
                found.append(whole)
            else:
                path.unlink(missing_ok=True)
        return found

    def _read(self, path: Path) -> tuple[StoredOffer, FileBlob] | None:
        try:
            file = open_blob(path)
            length = int.from_bytes(file.read(file.size - _LENGTH_BYTES, _LENGTH_BYTES))
            size = file.size - _LENGTH_BYTES - length
            kept = codec.from_json(StoredOffer, file.read(size, length))
            file.size = size
            whole = file.digest() == kept.offer.update.digest
        except (OSError, WireError, StoreError):
            return None  # torn by a power cut, or on a bad sector: as good as none
        return (kept, file) if whole else None

    def _open(self, path: str) -> int:
        try:
            return os.open(path, _NEW, 0o600)
        except FileNotFoundError:  # a user removed the folder of a running agent
            self.folder.mkdir(parents=True, exist_ok=True)
            return os.open(path, _NEW, 0o600)

    def _path(self, job: str, task: int) -> str:
        # "~" is in no name, so two jobs never share a file. Joined by hand: this is done twice for
        # every update, and pathlib takes 20 µs to join what then is a string again.
        return f"{self.folder}/{job}~{task}.update"


def _write(file: int, data: Blob) -> None:
    left = memoryview(data).cast("B")
    while left:
        left = left[os.write(file, left) :]
