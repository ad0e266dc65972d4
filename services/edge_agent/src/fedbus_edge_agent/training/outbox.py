"""Outbox: updates on the agent's disk, from before they are offered until their receipt arrives.

An offered update never changes: a restarted agent offers the same bytes, or none. Files are neither
fsynced nor renamed: the kill of the process loses nothing that was offered, and a file that a power
cut left incomplete has no offer at its end, or fails its digest, and is removed.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fedbus.atomic_write import os_errors_as_store_errors, sync_folder
from fedbus.blobs.files import FileBlob, open_blob
from fedbus.errors import StoreError, WireError
from fedbus.model.blob_header import Blob
from fedbus.wire import codec
from fedbus.wire.identifiers import NodeName
from fedbus.wire.messages import Offer
from fedbus_edge_agent.training.own_state import OwnStates
from fedbus_edge_agent.training.released_tasks import ReleasedTasks
from fedbus_edge_agent.training.residuals import Residuals

_NEW = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOffer:
    """An offer in the outbox, and the collector that it is for.

    `kept` names what its task left pending: `OwnStates.event` of each. An older version of this
    agent has written none.
    """

    collector: NodeName
    offer: Offer
    kept: tuple[str, ...] = ()


class Outbox:
    """One folder with a file `{job}~{task}.update` for each update.

    A file holds the update's bytes, its offer in JSON, and the length of the JSON in 4 bytes. There
    is one file and not two: to create and remove a file takes longer than to write a small update.

    Raises:
        StoreError: The folder cannot be created.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.own_states = OwnStates(folder / "own")
        self.residuals = Residuals(folder / "residuals")
        self.released = ReleasedTasks(folder / "released")
        with os_errors_as_store_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def save(self, stored: StoredOffer, update: Blob, *, durable: bool = False) -> FileBlob:
        """Write an update and its offer; return the update's part of the file, to be served.

        A power cut does not undo a `durable` call.

        Raises:
            StoreError: The disk is full or not writable; no file is left then.
        """
        job, task, size = stored.offer.job, stored.offer.task, memoryview(update).nbytes
        offer = codec.to_json(stored)
        with os_errors_as_store_errors(self.folder):
            file = self._open(self._path(job, task))
            try:
                for part in (update, offer + len(offer).to_bytes(_LENGTH_BYTES)):
                    _write(file, part)
                if durable:
                    os.fsync(file)
                    sync_folder(self.folder)
            except OSError:
                os.close(file)  # an open file uses disk space, removed or not
                with suppress(OSError):
                    self.remove(job, task)
                raise
        return FileBlob(file, self._path(job, task), size)

    def remove(self, job: str, task: int) -> None:
        """Remove an update and its offer."""
        with suppress(FileNotFoundError):
            os.remove(self._path(job, task))  # noqa: PTH107 - see `_path`

    def settle(self, stored: StoredOffer, *, counted: bool) -> tuple[str, ...]:
        """Settle what an update's task left pending (see `OwnStates`), then remove the update.

        In this order: a process that is killed in between offers the update again, and gets the
        same receipt. If the update counts, return what its task left and is gone from the disk.

        Raises:
            StoreError: The disk is not writable.
        """
        offer = stored.offer
        settled = {each.event: each.settle(offer, counted=counted) for each in self._kept}
        self.remove(offer.job, offer.task)
        return tuple(event for event in stored.kept if not settled.get(event, True))

    def has_pending(self, offer: Offer) -> bool:
        """Return whether something on the disk waits for the receipt of an offer."""
        return any(states.has_pending(offer) for states in self._kept)

    @property
    def _kept(self) -> tuple[OwnStates, ...]:
        return self.own_states, self.residuals

    def forget_job(self, job: str) -> None:
        """Remove what is kept of a job that has ended, as far as the disk allows it."""
        for states in self._kept:
            states.remove(job)
        self.released.forget(job)

    def load(self) -> list[tuple[StoredOffer, FileBlob]]:
        """Open the updates of an earlier process of this agent.

        Incomplete files are removed, and what is pending for a task without an update.
        """
        found = []
        for path in sorted(self.folder.glob("*.update")):
            if whole := self._read(path):
                found.append(whole)
            else:
                path.unlink(missing_ok=True)
        for states in self._kept:
            states.discard_all_but([stored.offer for stored, _ in found])
        return found

    def _read(self, path: Path) -> tuple[StoredOffer, FileBlob] | None:
        try:
            file = open_blob(path)
            length = int.from_bytes(file.read(file.size - _LENGTH_BYTES, _LENGTH_BYTES))
            size = file.size - _LENGTH_BYTES - length
            stored = codec.from_json(StoredOffer, file.read(size, length))
            file.size = size
            whole = file.digest() == stored.offer.update.digest
        except (OSError, WireError, StoreError):
            return None  # left incomplete by a power cut, or on a bad sector
        return (stored, file) if whole else None

    def _open(self, path: str) -> int:
        try:
            return os.open(path, _NEW, 0o600)
        except FileNotFoundError:  # a user removed the folder of a running agent
            self.folder.mkdir(parents=True, exist_ok=True)
            return os.open(path, _NEW, 0o600)

    def _path(self, job: str, task: int) -> str:
        # "~" is in no name, so two jobs never share a file. Joined without pathlib, which takes
        # 20 µs: this is done twice for every update.
        return f"{self.folder}/{job}~{task}.update"


def _write(file: int, data: Blob) -> None:
    left = memoryview(data).cast("B")
    while left:
        left = left[os.write(file, left) :]
