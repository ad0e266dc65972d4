"""Updates on the agent's disk, from before they are offered until they may be forgotten.

What an agent has once offered never changes: a restarted agent offers the same bytes, or none.
Nothing is fsynced, and nothing renamed: a kill loses nothing that was offered, and what it or a
power cut tears fails its digest, or is no JSON, and counts as lost.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOffer:
    """An offer as it lies on disk, and whom it is for."""

    collector: NodeName
    offer: Offer


class Outbox:
    """One `folder`: `{job}~{task}.update` beside `{job}~{task}.offer`, written in this order.

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
        """Write an update, then its offer; return it ready to be served.

        Raises:
            StoreError: the disk is full or not writable; nothing is kept then.
        """
        job, task = kept.offer.job, kept.offer.task
        served: FileBlob | None = None
        try:
            file = self._write(job, task, "update", update)
            served = FileBlob(file, self._path(job, task, "update"))
            os.close(self._write(job, task, "offer", codec.to_json(kept)))
        except OSError as error:
            served = None  # closes its file, which takes room on the disk as long as it is open
            with suppress(OSError):
                self.forget(job, task)
            raise StoreError(f"{self.folder}: {error.strerror}") from error
        return served

    def forget(self, job: str, task: int) -> None:
        """Remove an update: it counts, or never will."""
        for what in ("offer", "update"):
            with suppress(FileNotFoundError):
                os.remove(self._path(job, task, what))  # noqa: PTH107 - see `_path`

    def load(self) -> list[tuple[StoredOffer, FileBlob]]:
        """Open what an earlier life of this agent left, whole; remove what is torn."""
        offers = sorted(self.folder.glob("*.offer"))
        whole = {path: found for path in offers if (found := self._read(path)) is not None}
        for path in [*offers, *self.folder.glob("*.update")]:
            if path.with_suffix(".offer") not in whole:
                path.unlink(missing_ok=True)
        return [*whole.values()]

    def _read(self, path: Path) -> tuple[StoredOffer, FileBlob] | None:
        try:
            kept = codec.from_json(StoredOffer, path.read_bytes())
            update = open_blob(path.with_suffix(".update"))
            whole = update.digest() == kept.offer.update.digest
        except (OSError, WireError, StoreError):
            return None  # torn by a power cut, or on a bad sector: as good as none
        return (kept, update) if whole else None

    def _write(self, job: str, task: int, what: str, data: Blob) -> int:
        """Write a file; returns it open, to be read."""
        path = self._path(job, task, what)
        try:
            file = os.open(path, _NEW, 0o600)
        except FileNotFoundError:  # somebody has tidied up; the other folders are made anew, too
            self.folder.mkdir(parents=True, exist_ok=True)
            file = os.open(path, _NEW, 0o600)
        try:
            left = memoryview(data).cast("B")
            while left:
                left = left[os.write(file, left) :]
        except OSError:
            os.close(file)
            raise
        return file

    def _path(self, job: str, task: int, what: str) -> str:
        # "~" is in no name, so two jobs never share a file. Joined by hand: this is done four times
        # for every update, and pathlib takes 20 µs to join what then is a string again.
        return f"{self.folder}/{job}~{task}.{what}"
