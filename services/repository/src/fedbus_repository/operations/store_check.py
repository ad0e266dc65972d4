"""Check of a whole store: the database, every record, every blob, and how they fit together.

It changes nothing, and may run while a repository uses the store: what that changes meanwhile, such
as a blob that retention deletes, is not reported.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from fedbus.core.blob_io import BlobSource
from fedbus.digest import hasher
from fedbus.errors import StoreError, StoreUnreachableError
from fedbus_repository.operations.record_checks import NeededBlob, RecordChecks
from fedbus_repository.stores.blob_storage import DamagedBlobError
from fedbus_repository.stores.files import find_blob, stored_blobs
from fedbus_repository.stores.store_reader import StoreReader

_BLOCK_BYTES = 1024 * 1024
_MEND: Final = "copy it from a backup, or push the version again"


@dataclass(slots=True)
class StoreFindings:
    """What a check has found.

    Attributes:
        damage: A sentence for each fault, with what is affected and how to correct it.
        counts: Number of readable records of each kind.
        notes: A sentence for each thing that a user may want to correct, and that is no damage.
        blobs: Number of intact blobs that records need, or may need: all, if one cannot be read.
        blob_bytes: Their size.
        unneeded: Number of blobs that no record needs; the repository deletes them at its start.
    """

    damage: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    blobs: int = 0
    blob_bytes: int = 0
    unneeded: int = 0


def check_store(
    store: StoreReader,
    on_blobs: Callable[[int], None] = lambda _: None,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> StoreFindings:
    """Check a store; `on_blobs` gets the bytes of all blobs, `on_bytes` those that were read.

    Raises:
        StoreError: The database cannot be read at all.
    """
    found = StoreFindings(damage=list(store.damage()))
    checks = RecordChecks.of(store.records())
    found.counts, found.notes = checks.counts, checks.notes()
    faults = checks.faults()
    suspects = _check_blobs(store, _needed(store, checks), found, on_blobs, on_bytes)
    if faults or suspects:
        store.refresh()
        again = RecordChecks.of(store.records())
        lasting, needed = set(again.faults()), _needed(store, again)
        found.damage += [fault for fault in faults if fault in lasting]
        found.damage += [sentence for digest, sentence in suspects.items() if digest in needed]
    return found


def check_blobs_alone(
    folder: Path,
    reason: str,
    on_blobs: Callable[[int], None] = lambda _: None,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> StoreFindings:
    """Check the blobs of a store's folder, or a backup's, whose records cannot be read.

    `reason` says why they cannot be, and becomes the first damage that is found.
    """
    blobs, found = _FolderBlobs(folder), StoreFindings(damage=[reason])
    suspects = _check_blobs(blobs, _stored(blobs), found, on_blobs, on_bytes)
    stored = dict(blobs.blobs())
    found.damage += [sentence for digest, sentence in suspects.items() if digest in stored]
    return found


class _Blobs(Protocol):
    """The blobs of a store, as `StoreReader` has them."""

    def blobs(self) -> Iterator[tuple[str, int]]: ...

    def open_blob(self, digest: str) -> BlobSource | None: ...


@dataclass(frozen=True, slots=True)
class _FolderBlobs:
    """The blobs of a folder, whatever else it has."""

    folder: Path

    def blobs(self) -> Iterator[tuple[str, int]]:
        for path in sorted(stored_blobs(self.folder)):
            with suppress(FileNotFoundError):  # deleted meanwhile
                yield path.name, path.stat().st_size

    def open_blob(self, digest: str) -> BlobSource | None:
        return find_blob(self.folder, digest)


def _stored(store: _Blobs) -> dict[str, NeededBlob]:
    where = "a blob that no readable record needs"
    return {digest: NeededBlob(size, where) for digest, size in store.blobs()}


def _needed(store: StoreReader, checks: RecordChecks) -> dict[str, NeededBlob]:
    """Return the blobs that records need; if one cannot be read, it may need any that is stored."""
    return _stored(store) | checks.needed if checks.unreadable else checks.needed


def _check_blobs(
    store: _Blobs,
    needed: dict[str, NeededBlob],
    found: StoreFindings,
    on_blobs: Callable[[int], None],
    on_bytes: Callable[[int], None],
) -> dict[str, str]:
    """Count the intact blobs; return a sentence for each that is not, by its digest."""
    stored = dict(store.blobs())
    on_blobs(sum(size for digest, size in stored.items() if digest in needed))
    suspects: dict[str, str] = {}
    for digest, blob in needed.items():
        fault = _blob_fault(store, digest, blob.size, on_bytes)
        if fault is None:
            found.blobs += 1
            found.blob_bytes += stored.get(digest, blob.size or 0)
        else:
            suspects[digest] = f"{blob.where}: blob {digest} {fault}"
    found.unneeded = len(stored.keys() - needed.keys())
    return suspects


def _blob_fault(
    store: _Blobs, digest: str, size: int | None, on_bytes: Callable[[int], None]
) -> str | None:
    """Read a blob; return what is wrong with it.

    Raises:
        StoreError: The store does not answer, or too many files are open: no blob can be read now.
    """
    content = hasher()
    try:
        source = store.open_blob(digest)
        if source is None:
            return f"is missing; {_MEND}"
        if size is not None and source.size != size:
            return f"has {source.size} bytes, expected {size}; {_MEND}"
        for offset in range(0, source.size, _BLOCK_BYTES):
            block = source.read(offset, _BLOCK_BYTES)
            content.update(block)
            on_bytes(len(block))
    except StoreUnreachableError:
        raise
    except DamagedBlobError as error:
        return f"cannot be read: {error}"
    except StoreError as error:
        return f"cannot be read: {error}; {_MEND}"
    if content.hexdigest() == digest:
        return None
    return f"is damaged: its digest is another one; {_MEND}"
