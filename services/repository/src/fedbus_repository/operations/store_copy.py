"""Copy of a whole store, proven by counts and digests.

The source's records are read once: checked, changed and kept in a temporary file. Then blobs are
copied, each compared with its digest, then the records are written, and read back to be compared.
Only after that is the target usable. An interrupted copy is continued: blobs that are there already
are not copied again. The source may be in use: if retention deletes a blob meanwhile, the copy
begins again with what the store holds then.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import msgpack

from fedbus.atomic_write import os_errors_as_store_errors
from fedbus.errors import StoreError
from fedbus_repository.operations.record_checks import RecordChecks
from fedbus_repository.stores.dumped_records import (
    DumpDigest,
    DumpedRecord,
    UnreadableRecord,
    decode_record,
)
from fedbus_repository.stores.store_reader import StoreReader, StoreWriter

MAX_BEGINNINGS: Final = 20
"""Times that a copy begins again because the source was changed meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyResult:
    """What was copied: records by kind with their digests, and blobs with their bytes."""

    counts: dict[str, int]
    digests: dict[str, str]
    blobs: int
    blob_bytes: int
    copied_blobs: int


class RecordSpool:
    """Records of a store at one moment, in a temporary file: a store may have more than memory.

    Attributes:
        digest: Counts and digests of the changed records.
        faults: Faults of the records that were read; with any, the spool is not to be used.
        blobs: The blobs that the records need, with their bytes where they are known.
    """

    def __init__(
        self,
        records: Iterable[DumpedRecord | UnreadableRecord],
        change: Callable[[DumpedRecord], DumpedRecord],
    ) -> None:
        self.digest = DumpDigest()
        with self._disk_errors():
            self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it
        try:
            checks = self._fill(records, change)
        except BaseException:
            self.close()
            raise
        self.faults = checks.faults()
        self.blobs = {digest: blob.size for digest, blob in checks.needed.items()}

    def _fill(
        self,
        records: Iterable[DumpedRecord | UnreadableRecord],
        change: Callable[[DumpedRecord], DumpedRecord],
    ) -> RecordChecks:
        checks = RecordChecks()
        for record in records:
            checks.add(record)
            if not isinstance(record, UnreadableRecord):
                packed = msgpack.packb(self.digest.add(change(record)))
                with self._disk_errors():
                    self._file.write(packed)
        with self._disk_errors():
            self._file.flush()
        return checks

    def read(self) -> Iterator[DumpedRecord]:
        """Read the records again."""
        self._file.seek(0)
        for packed in msgpack.Unpacker(self._file, max_buffer_size=0):
            yield decode_record(packed)

    def close(self) -> None:
        """Delete the file, also one that a full disk keeps from being written."""
        with suppress(OSError):
            self._file.close()

    def _disk_errors(self) -> AbstractContextManager[None]:
        folder = Path(tempfile.gettempdir())
        return os_errors_as_store_errors(folder, "copying records (TMPDIR sets another folder)")


class StoreCopy:
    """A copy of all records of `source`, each changed by `change`, and of their blobs.

    Raises:
        StoreError: A record of the source is damaged.
    """

    def __init__(
        self,
        source: StoreReader,
        change: Callable[[DumpedRecord], DumpedRecord] = lambda record: record,
    ) -> None:
        self._source, self._change = source, change
        self._spool = self._read()

    def require_blobs(self) -> None:
        """Raise StoreError unless the source, which is not in use, has every blob in its size."""
        for digest, size in self._spool.blobs.items():
            found = self._source.open_blob(digest)
            if found is None:
                raise self._missing(digest)
            if size is not None and found.size != size:
                raise StoreError(
                    f"{self._source.place} is damaged: blob {digest} has {found.size} bytes,"
                    f" expected {size}"
                )

    def write(
        self,
        target: StoreWriter,
        on_blobs: Callable[[int], None] = lambda _: None,
        on_bytes: Callable[[int], None] = lambda _: None,
    ) -> CopyResult:
        """Write the copy, and compare it; the target is usable after that.

        `on_blobs` gets the bytes of all blobs, `on_bytes` those of each that the target has.

        Raises:
            StoreError: A blob of the source is damaged or missing, the target cannot be written, or
                it differs from the source.
        """
        copied = 0
        for _ in range(MAX_BEGINNINGS):
            on_blobs(sum(size or 0 for size in self._spool.blobs.values()))
            added, lost = _copy_blobs(self._source, target, self._spool.blobs, on_bytes)
            copied += added
            if lost is None:
                return self._write_records(target, copied)
            self._spool.close()
            self._source.refresh()
            self._spool = self._read()
            if lost in self._spool.blobs and self._source.open_blob(lost) is None:
                raise self._missing(lost)
        raise self._changes_too_fast()

    def close(self) -> None:
        """Delete the temporary file; source and target stay open."""
        self._spool.close()

    def _read(self) -> RecordSpool:
        """Read the source's records; a fault that a second reading lacks is a change meanwhile."""
        earlier: set[str] = set()
        for _ in range(MAX_BEGINNINGS):
            spool = RecordSpool(self._source.records(), self._change)
            if not spool.faults:
                return spool
            spool.close()
            if lasting := [fault for fault in spool.faults if fault in earlier]:
                raise StoreError(
                    f"{self._source.place} is damaged: {lasting[0]}; `fedbus store check` lists all"
                    " damage"
                )
            earlier = set(spool.faults)
            self._source.refresh()
        raise self._changes_too_fast()

    def _write_records(self, target: StoreWriter, copied_blobs: int) -> CopyResult:
        spool = self._spool
        target.add_records(spool.read())
        _compare(spool.digest, target)
        target.finish()
        return CopyResult(
            counts=dict(spool.digest.counts),
            digests=spool.digest.digests,
            blobs=len(spool.blobs),
            blob_bytes=sum(size or 0 for size in spool.blobs.values()),
            copied_blobs=copied_blobs,
        )

    def _missing(self, digest: str) -> StoreError:
        return StoreError(
            f"{self._source.place} is damaged: blob {digest} is missing, although a record needs"
            " it; `fedbus store check` lists all damage"
        )

    def _changes_too_fast(self) -> StoreError:
        return StoreError(
            f"{self._source.place}: the store deleted blobs {MAX_BEGINNINGS} times while it was"
            " copied; let it keep more versions (FEDBUS_KEEP_VERSIONS), or copy it while no job"
            " runs"
        )


def _copy_blobs(
    source: StoreReader,
    target: StoreWriter,
    blobs: dict[str, int | None],
    on_bytes: Callable[[int], None],
) -> tuple[int, str | None]:
    """Copy the blobs that the target lacks; return their number, and the first that is gone."""
    copied = 0
    for digest in blobs:
        found = source.open_blob(digest)
        if found is None:
            return copied, digest
        blobs[digest] = found.size
        if not target.has_blob(digest, found.size):
            target.add_blob(digest, found)
            copied += 1
        on_bytes(found.size)
    return copied, None


def _compare(expected: DumpDigest, target: StoreWriter) -> None:
    """Read the target's records back; raise StoreError unless they are the expected ones."""
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
