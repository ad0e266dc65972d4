"""Features on the agent's disk, from before they are served until their job ends.

Features are randomized once: two randomizations of the same examples would cost twice the ε. So
they are on the disk, synced, before anyone can fetch them, and a restarted agent serves the same
bytes. An agent whose files were removed cannot know that it has sent features before.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from fedbus.atomic_write import PRIVATE, open_atomic, os_errors_as_store_errors
from fedbus.blobs.files import FileBlob, open_blob
from fedbus.errors import StoreError, WireError
from fedbus.model.blob_header import Blob
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef
from fedbus.wire.features import FeatureTerms
from fedbus.wire.identifiers import Digest

MAX_KEPT_FEATURES: Final = 64
"""Jobs whose features an agent keeps: it is not always told when a job ends."""
_LENGTH_BYTES: Final = 4
_SUFFIX: Final = ".features"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFeatures:
    """What is stored with the features of a job; `base` are the weights that computed them."""

    job: str
    base: Digest
    terms: FeatureTerms
    features: BlobRef
    examples: int


class SentFeatureFiles:
    """One folder with a file `{job}.features` for each job; the first `save` creates it.

    A file holds the blob, `StoredFeatures` in JSON, and the length of the JSON in 4 bytes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, home: Path) -> Self:
        """Return the files of the agent with this outbox."""
        return cls(home / "features")

    def save(self, stored: StoredFeatures, blob: Blob) -> FileBlob:
        """Write features; return the blob's part of the file, to be served.

        Raises:
            StoreError: The disk is full or not writable, the job has features already, or there are
                those of too many jobs.
        """
        path = self._path(stored.job)
        if path.exists():
            raise StoreError(f"{path}: features of this job were sent; they are not made again")
        if len(list(self.folder.glob(f"*{_SUFFIX}"))) >= MAX_KEPT_FEATURES:
            raise StoreError(
                f"{self.folder}: features of {MAX_KEPT_FEATURES} jobs are kept; remove the files "
                "of jobs that have ended"
            )
        text = codec.to_json(stored)
        with os_errors_as_store_errors(path):
            self.folder.mkdir(parents=True, exist_ok=True)
            with open_atomic(path, mode=PRIVATE, durable=True) as file:
                for part in (blob, text, len(text).to_bytes(_LENGTH_BYTES)):
                    file.write(part)
            found = open_blob(path)
        found.size = stored.features.size
        return found

    def load(self) -> list[tuple[StoredFeatures, FileBlob]]:
        """Open the features that an earlier process of this agent left.

        A file that cannot be read stays where it is: its job gets no other features.
        """
        paths = sorted(self.folder.glob(f"*{_SUFFIX}"))
        return [whole for path in paths if (whole := self._read(path)) is not None]

    def remove(self, job: str) -> None:
        """Remove the features of an ended job.

        Raises:
            StoreError: The disk is not writable.
        """
        path = self._path(job)
        with os_errors_as_store_errors(path):
            path.unlink(missing_ok=True)

    def _read(self, path: Path) -> tuple[StoredFeatures, FileBlob] | None:
        try:
            file = open_blob(path)
            length = int.from_bytes(file.read(file.size - _LENGTH_BYTES, _LENGTH_BYTES))
            size = file.size - _LENGTH_BYTES - length
            stored = codec.from_json(StoredFeatures, file.read(size, length))
        except (OSError, WireError, StoreError):
            return None
        file.size = size
        return (stored, file) if self._path(stored.job) == path else None

    def _path(self, job: str) -> Path:
        return self.folder / f"{job}{_SUFFIX}"
