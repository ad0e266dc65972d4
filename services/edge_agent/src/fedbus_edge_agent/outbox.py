"""Updates on the agent's disk, from before they are offered until they may be forgotten.

What an agent has once offered never changes: a restarted agent offers the same bytes, or none. Nothing is
fsynced: a kill loses nothing, and what a power cut tears fails its digest and counts as lost.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedbus.errors import StoreError, WireError
from fedbus.weights import Blob
from fedbus.wire import codec
from fedbus.wire.messages import Offer
from fedbus.wire.values import NodeName

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An offer as it lies on disk, and whom it is for."""

    collector: NodeName
    offer: Offer


class FileBlob:
    """A blob in a file, read as it is wanted; a Source."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self._file).st_size

    def read(self, offset: int, length: int) -> bytes:
        """Take bytes at an offset."""
        return os.pread(self._file, length, offset)

    def __del__(self) -> None:
        """Close with the last who serves it."""
        os.close(self._file)


class Outbox:
    """One folder: `{job}~{task}.update` beside `{job}~{task}.offer`, written in this order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for torn in folder.glob("*.new"):
            torn.unlink()

    def keep(self, kept: Kept, update: Blob) -> FileBlob:
        """Write an update, then its offer; return it ready to be served.

        Raises:
            StoreError: the disk is full or not writable; nothing is kept then.
        """
        try:
            self._write(self._path(kept.offer.job, kept.offer.task, "update"), update)
            self._write(self._path(kept.offer.job, kept.offer.task, "offer"), codec.to_json(kept))
        except OSError as error:
            self.forget(kept.offer.job, kept.offer.task)
            raise StoreError(f"{self._folder}: {error.strerror}") from error
        return self.open(kept)

    def open(self, kept: Kept) -> FileBlob:
        """Open a kept update to serve it."""
        return FileBlob(self._path(kept.offer.job, kept.offer.task, "update"))

    def forget(self, job: str, task: int) -> None:
        """Remove an update: it counts, or never will."""
        for what in ("offer", "update"):
            self._path(job, task, what).unlink(missing_ok=True)

    def load(self) -> list[Kept]:
        """Read what an earlier life of this agent left, whole; remove what is torn."""
        return [kept for path in sorted(self._folder.glob("*.offer")) for kept in self._read(path)]

    def _read(self, path: Path) -> Iterator[Kept]:
        try:
            kept = codec.from_json(Kept, path.read_bytes())
            if _digest(path.with_suffix(".update")) == kept.offer.update.digest:
                yield kept
                return
        except (OSError, WireError):
            pass  # torn by a power cut: as good as none
        path.unlink(missing_ok=True)
        path.with_suffix(".update").unlink(missing_ok=True)

    def _write(self, path: Path, data: Blob) -> None:
        new = path.with_name(path.name + ".new")
        new.write_bytes(data)
        new.rename(path)

    def _path(self, job: str, task: int, what: str) -> Path:
        # "~" is in no name, so two jobs never share a file.
        return self._folder / f"{job}~{task}.{what}"


def _digest(path: Path) -> str:
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha.update(block)
    return sha.hexdigest()
