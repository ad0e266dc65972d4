"""Copy of a whole store, proven by counts and digests.

Blobs are copied before records, and an interrupted copy is continued: blobs that are there already
are not copied again. The source may be in use: if retention deletes a blob meanwhile, the copy
begins again with what the store holds then.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Protocol

import msgpack

from fedbus.atomic_write import os_errors_as_store_errors
from fedbus.errors import StoreError
from fedbus_repository.stores.dumped_records import (
    DumpDigest,
    DumpedRecord,
    UnreadableRecord,
    decode_record,
    referenced_blobs,
)
from fedbus_repository.stores.store_reader import StoreReader, StoreWriter

MAX_BEGINNINGS: Final = 20
"""Times that a copy begins again because the source deleted a blob meanwhile."""


class CopyProgress(Protocol):
    """Shows how far a copy is."""

    def begin(self, blobs: int, size: int) -> None:
        """Show that blobs of `size` bytes together are to be copied."""

    def copied(self, size: int) -> None:
        """Show that a blob of `size` bytes is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyResult:
    """What was copied: records by kind with their digests, and blobs with their bytes."""

    counts: dict[str, int]
    digests: dict[str, str]
    blobs: int
    blob_bytes: int
    copied_blobs: int


class RecordSpool:
    """Records of a store at one moment, in a temporary file: a store may have more than memory."""

    def __init__(
        self,
        records: Iterable[DumpedRecord | UnreadableRecord],
        change: Callable[[DumpedRecord], DumpedRecord],
    ) -> None:
        self.digest = DumpDigest()
        self.blobs: dict[str, int | None] = {}
        with self._disk_errors():
            self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it
        for record in records:
            if isinstance(record, UnreadableRecord):
                raise StoreError(
                    f"{record.where} cannot be read: {record.reason}; `fedbus store check` lists"
                    " all damage"
                )
            changed = change(record)
            for digest, size in referenced_blobs(changed).items():
                self.blobs[digest] = size or self.blobs.get(digest)
            packed = msgpack.packb(self.digest.add(changed))
            with self._disk_errors():
                self._file.write(packed)
        with self._disk_errors():
            self._file.flush()

    def read(self) -> Iterator[DumpedRecord]:
        """Read the records again."""
        self._file.seek(0)
        for packed in msgpack.Unpacker(self._file, max_buffer_size=0):
            yield decode_record(packed)

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def _disk_errors(self) -> AbstractContextManager[None]:
        folder = Path(tempfile.gettempdir())
        return os_errors_as_store_errors(folder, "copying records (TMPDIR sets another folder)")


def copy_store(
    source: StoreReader,
    target: StoreWriter,
    progress: CopyProgress,
    change: Callable[[DumpedRecord], DumpedRecord] = lambda record: record,
) -> CopyResult:
    """Copy all records, each changed by `change`, and their blobs; compare both sides.

    The target is usable only after the comparison.

    Raises:
        StoreError: A record or a blob of the source is damaged or missing, the target cannot be
            written, or it differs from the source.
    """
    copied = 0
    for _ in range(MAX_BEGINNINGS):
        with closing(RecordSpool(source.records(), change)) as spool:
            added, lost = _copy_blobs(source, target, spool, progress)
            copied += added
            if lost is None:
                target.add_records(spool.read())
                _compare(spool.digest, target)
                target.finish()
                sizes = [size or 0 for size in spool.blobs.values()]
                return CopyResult(
                    counts=dict(spool.digest.counts),
                    digests=spool.digest.digests,
                    blobs=len(sizes),
                    blob_bytes=sum(sizes),
                    copied_blobs=copied,
                )
            source.refresh()
            if _still_needs(source, lost):
                raise StoreError(
                    f"{source.place}: blob {lost} is missing, although a record needs it; `fedbus"
                    " store check` lists all damage"
                )
    raise StoreError(
        f"{source.place}: the store deleted blobs {MAX_BEGINNINGS} times while it was copied; let"
        " it keep more versions (FEDBUS_KEEP_VERSIONS), or copy it while no job runs"
    )


def _copy_blobs(
    source: StoreReader, target: StoreWriter, spool: RecordSpool, progress: CopyProgress
) -> tuple[int, str | None]:
    """Copy the blobs that the target lacks; return their number, and the first that is gone."""
    progress.begin(len(spool.blobs), sum(size or 0 for size in spool.blobs.values()))
    copied = 0
    for digest in spool.blobs:
        found = source.open_blob(digest)
        if found is None:
            return copied, digest
        spool.blobs[digest] = found.size
        if not target.has_blob(digest, found.size):
            target.add_blob(digest, found)
            copied += 1
        progress.copied(found.size)
    return copied, None


def _still_needs(source: StoreReader, digest: str) -> bool:
    return any(
        digest in referenced_blobs(record)
        for record in source.records()
        if not isinstance(record, UnreadableRecord)
    )


def _compare(expected: DumpDigest, target: StoreWriter) -> None:
    with closing(target.reader()) as written:
        found = DumpDigest()
        for record in written.records():
            if isinstance(record, UnreadableRecord):
                raise StoreError(f"{written.place}: {record.where}: {record.reason}")
            found.add(record)
    if found.counts != expected.counts or found.digests != expected.digests:
        kinds = [k for k in expected.counts if expected.digests.get(k) != found.digests.get(k)]
        raise StoreError(
            f"{written.place}: the copy differs from the source in records of the kinds"
            f" {', '.join(sorted(kinds)) or 'that the source lacks'}; it is not used"
        )
