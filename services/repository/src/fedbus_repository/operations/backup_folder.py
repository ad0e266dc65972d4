"""Backup of a store: a folder with a manifest, one file of records, and blobs by their digest.

    manifest.json    what it is, when it was made, its file of records, counts and digests
    records-a.dump   all records in their canonical encoding, one after the other
    blobs/ab/…       blobs, named by their BLAKE3 digest

The manifest is written last: a folder without one is an unfinished backup. A later backup into the
same folder copies only new blobs, and writes its records to `records-b.dump`: until its manifest
takes the place of the earlier one, the earlier backup is whole.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgpack

from fedbus.atomic_write import (
    PRIVATE,
    atomic_write,
    open_atomic,
    os_errors_as_store_errors,
    temporary_path,
)
from fedbus.blobs.files import FileBlob
from fedbus.core.blob_io import BlobSource
from fedbus.digest import hasher
from fedbus.errors import StoreDamagedError, StoreError
from fedbus.wire.identifiers import Timestamp
from fedbus_repository.stores.dumped_records import (
    DumpDigest,
    DumpedRecord,
    UnreadableRecord,
    decode_record,
    kind_of,
    referenced_blobs,
)
from fedbus_repository.stores.files import blob_files, blob_path, find_blob, stored_blobs

MANIFEST: Final = "manifest.json"
RECORDS: Final = ("records-a.dump", "records-b.dump")
FORMAT: Final = 1
_BLOCK_BYTES = 1024 * 1024
_MAX_MANIFEST_BYTES = 2**20
_MAX_RECORD_BYTES = 64 * 2**20


class DamagedManifestError(StoreDamagedError):
    """The manifest of a backup cannot be read."""


@dataclass(frozen=True, slots=True)
class BackupManifest:
    """What a backup states of itself."""

    made: Timestamp
    source: str
    records: str
    counts: dict[str, int]
    digests: dict[str, str]


def is_backup(folder: Path) -> bool:
    """Return whether a folder has a finished backup."""
    return (folder / MANIFEST).is_file()


class BackupWriter:
    """A `StoreWriter` of a backup's folder; `source` and `made` are written into its manifest."""

    def __init__(self, folder: Path, *, source: str, made: Timestamp) -> None:
        self._folder, self._source, self._made = folder, source, made
        self._needed: set[str] = set()
        self._records = RECORDS[0]
        with os_errors_as_store_errors(folder, "preparing the backup"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            files = [folder / name for name in (MANIFEST, *RECORDS)]
            own = {"blobs", *(each.name for path in files for each in (path, temporary_path(path)))}
            strangers = sorted({path.name for path in folder.iterdir()} - own)
        if is_backup(folder):
            earlier = _read_manifest(folder).records
            self._records = next(name for name in RECORDS if name != earlier)
        elif strangers:
            raise StoreError(
                f"{folder}: expected a new or empty folder, or an earlier backup; it has"
                f" {', '.join(strangers[:3])}"
            )

    def add_records(self, records: Iterable[DumpedRecord]) -> None:
        """Write the file of records, beside that of an earlier backup."""
        with os_errors_as_store_errors(self._folder, "writing the backup"):
            path, self._digest = self._folder / self._records, DumpDigest()
            with open_atomic(path, mode=PRIVATE, durable=True) as file:
                for record in records:
                    file.write(msgpack.packb(self._digest.add(record)))
                    self._needed.update(referenced_blobs(record))

    def has_blob(self, digest: str, size: int) -> bool:
        """Return whether an earlier backup has a blob in this size."""
        path = blob_path(self._folder, digest)
        return path.is_file() and path.stat().st_size == size

    def add_blob(self, digest: str, source: BlobSource) -> None:
        """Copy a blob and verify it; raise StoreError if it is damaged or the disk is full."""
        path = blob_path(self._folder, digest)
        found = hasher()
        with os_errors_as_store_errors(path, f"copying {source.size} bytes"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open_atomic(path, mode=PRIVATE, durable=True) as file:
                for offset in range(0, source.size, _BLOCK_BYTES):
                    block = source.read(offset, _BLOCK_BYTES)
                    found.update(block)
                    file.write(block)
                if found.hexdigest() != digest:
                    raise StoreError(
                        f"blob {digest} of the store is damaged; `fedbus store check` lists all"
                        " damage"
                    )

    def reader(self) -> "BackupReader":
        """Open the file of records that was written."""
        return BackupReader(self._folder, unfinished=self._records)

    def finish(self) -> None:
        """Write the manifest, and delete what only an earlier backup needed."""
        manifest = {
            "format": FORMAT,
            "made": self._made,
            "source": self._source,
            "records": self._records,
            "counts": dict(self._digest.counts),
            "digests": self._digest.digests,
            "blobs": len(self._needed),
        }
        text = json.dumps(manifest, indent=2) + "\n"
        with os_errors_as_store_errors(self._folder, "writing the backup"):
            atomic_write(self._folder / MANIFEST, text.encode(), mode=PRIVATE, durable=True)
            needed = {*self._needed, self._records}
            others = [self._folder / name for name in RECORDS]
            for path in (*others, *blob_files(self._folder)):
                if path.name not in needed:
                    with suppress(OSError):
                        path.unlink(missing_ok=True)

    def close(self) -> None:
        """Do nothing: no file is open."""


class BackupReader:
    """A `StoreReader` of a backup; raise StoreError if the folder has no finished one.

    `unfinished` is the file of records of one that is being written.
    """

    def __init__(self, folder: Path, *, unfinished: str | None = None) -> None:
        self._folder = folder
        self.manifest = None if unfinished else _read_manifest(folder)
        self._path = folder / (self.manifest.records if self.manifest else unfinished or "")

    @property
    def place(self) -> str:
        """The folder."""
        return str(self._folder)

    def records(self) -> Iterator[DumpedRecord | UnreadableRecord]:
        """Read every record, and name each that is damaged.

        After the last one they are compared with the manifest.
        """
        path, found, is_readable = self._path, DumpDigest(), True
        try:
            with path.open("rb") as file:
                for number, packed in enumerate(_unpacked(file), start=1):
                    try:
                        record = decode_record(packed)
                    except StoreError as error:
                        is_readable = False
                        yield UnreadableRecord(f"record {number} of {path}", str(error))
                    else:
                        found.add_encoded(kind_of(record), packed)
                        yield record
        except (OSError, ValueError, msgpack.UnpackException) as error:
            is_readable = False
            yield UnreadableRecord(str(path), f"{type(error).__name__}: {error}")
        stated = self.manifest
        matches = not stated or (found.counts, found.digests) == (stated.counts, stated.digests)
        if is_readable and not matches:
            yield UnreadableRecord(str(path), f"its records are not what {MANIFEST} states")

    def damage(self) -> Iterator[str]:
        """Find nothing: a backup has no database, and its records are compared as they are read."""
        return iter(())

    def blobs(self) -> Iterator[tuple[str, int]]:
        """Return digest and size of every blob."""
        for path in sorted(stored_blobs(self._folder)):
            yield path.name, path.stat().st_size

    def open_blob(self, digest: str) -> FileBlob | None:
        """Open a blob; None if it is missing."""
        return find_blob(self._folder, digest)

    def refresh(self) -> None:
        """Do nothing: a backup does not change."""

    def close(self) -> None:
        """Do nothing: no file is open."""


def _unpacked(file: Any) -> Iterator[bytes]:  # noqa: ANN401 - msgpack has no types
    """Read the packed records of a file; raise ValueError if it ends within one."""
    unpacker = msgpack.Unpacker(file, max_buffer_size=_MAX_RECORD_BYTES)
    yield from unpacker
    if unpacker.tell() != os.fstat(file.fileno()).st_size:
        raise ValueError("the file ends within a record")


def _read_manifest(folder: Path) -> BackupManifest:
    path = folder / MANIFEST
    try:
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise DamagedManifestError(
                f"{path}: expected at most {_MAX_MANIFEST_BYTES} bytes; use another backup"
            )
        read = json.loads(path.read_bytes())
        if read["format"] != FORMAT:
            raise StoreError(
                f"{path}: expected format {FORMAT}, got {str(read['format'])[:20]}; restore it with"
                " the version of fedbus that made it"
            )
        counts = {str(kind): int(count) for kind, count in read["counts"].items()}
        digests = {str(kind): str(digest) for kind, digest in read["digests"].items()}
        if (records := read["records"]) not in RECORDS:
            raise DamagedManifestError(
                f"{path}: records: expected one of {', '.join(RECORDS)}; use another backup"
            )
        return BackupManifest(str(read["made"]), str(read["source"]), records, counts, digests)
    except FileNotFoundError as error:
        raise StoreError(f"no backup in {folder}: expected a file {MANIFEST}") from error
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedManifestError(
            f"{path}: not the manifest of a backup: {error}; use another backup"
        ) from error
