"""A full disk, a broken one, one that can only be read: nothing half done, nothing lost."""

import errno
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedbus.core.events import Woke
from fedbus.errors import StoreError
from fedbus.simulation.oracle import check_records
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.messages import Commit, Committed
from fedbus_repository.core import RepositoryCore
from fedbus_repository.keys import AnnouncementTimer
from fedbus_repository.stores.files import BlobFolder
from fedbus_repository.stores.sqlite.database_faults import DamagedDatabaseError
from fedbus_repository.stores.sqlite.store import SqliteStore
from fedbus_repository.stores.sqlite.tables import SCHEMA
from tests.repository.faults import STEPS, Disk, locked_by_another_process, small_disk
from tests.repository.harness import (
    COLLECTOR,
    FILE,
    REPOSITORY,
    Harness,
    begin,
    commit_next,
    load,
    plan_next,
    push,
    put,
    record_of,
    spec,
    weights,
)


@pytest.fixture
def disk() -> Disk:
    """A disk that works until it is told to fail."""
    return Disk()


@pytest.fixture
def store(tmp_path: Path, disk: Disk) -> Iterator[SqliteStore]:
    """A store on that disk, with a job."""
    store = SqliteStore(tmp_path / "data", keep=3, on_step=disk)
    begin(store)
    yield store
    store.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("step", [step for step in STEPS if step != "unlink"])
def test_a_commit_that_fails_changes_nothing_and_can_be_repeated(
    store: SqliteStore, disk: Disk, tmp_path: Path, step: str, number: int
) -> None:
    """Whatever fails: the error says what and where, and the last model stays readable."""
    commit_next(store, 1.0)
    record = record_of(plan_next(store))
    disk.step, disk.number = step, number
    with pytest.raises(StoreError, match=str(tmp_path)):
        store.commit(record, put(store, weights(2.0)))
    assert load(store).rounds == 1
    assert check_records(store).versions == 2
    assert list((tmp_path / "data" / "uploads").iterdir()) == []
    store.commit(record, put(store, weights(2.0)))
    assert check_records(store).versions == 3


def test_a_sync_that_failed_is_never_taken_for_done(store: SqliteStore, disk: Disk) -> None:
    """After a failed fsync the pages may be gone: the blob is given up, not synced once more."""
    disk.step, disk.number = "sync_folder", errno.EIO
    with pytest.raises(StoreError, match="Input/output error"):
        put(store, weights(1.0))
    assert not store.holds(blob_ref_of(weights(1.0)))


def test_a_blob_that_is_kept_again_outlives_a_failed_sync(store: SqliteStore, disk: Disk) -> None:
    """Two collectors may upload equal weights at once; those of the first one are in a version."""
    commit_next(store, 1.0)
    disk.step, disk.number = "sync_folder", errno.EIO
    with pytest.raises(StoreError, match="Input/output error"):
        put(store, weights(1.0))
    assert store.holds(blob_ref_of(weights(1.0)))
    assert check_records(store).versions == 2


def test_a_blob_that_cannot_be_deleted_does_no_harm(store: SqliteStore, disk: Disk) -> None:
    """The commit is true; the blob goes at the next start."""
    for value in (1.0, 2.0, 3.0):
        commit_next(store, value)
    disk.step = "unlink"
    commit_next(store, 4.0)
    assert store.holds(blob_ref_of(weights(1.0)))
    assert not store.history()[1].version.kept
    store.close()
    again = SqliteStore(store.folder, keep=3)
    assert not again.holds(blob_ref_of(weights(1.0)))
    assert check_records(again).versions == 5
    again.close()


def test_a_full_disk_pauses_the_round(store: SqliteStore, disk: Disk) -> None:
    """The core says nothing, so it is asked again; when space returns, the round is committed."""
    harness = Harness(RepositoryCore(REPOSITORY, store))
    harness.connect()
    harness.serve(weights(1.0))
    commit = Commit(record=record_of(plan_next(store)), weights=blob_ref_of(weights(1.0)))
    for step in ("reserve", "write", "sync", "rename", "sync_folder", "insert"):
        disk.step = step
        assert harness.receive(COLLECTOR, commit) == []
        assert harness.notes[-1].event == "request_failed"
        assert "No space left on device" in harness.notes[-1].facts["reason"]
        assert check_records(store).versions == 1
        assert harness.trouble.startswith("the repository cannot store requests: ")
        assert "No space left on device" in harness.trouble
    [answer] = harness.receive(COLLECTOR, commit)
    assert isinstance(answer, Committed)
    assert harness.trouble == ""


def test_a_trouble_is_withdrawn_once_no_request_fails(store: SqliteStore, disk: Disk) -> None:
    """The sender may never ask again, because its job was cancelled, for example."""
    harness = Harness(RepositoryCore(REPOSITORY, store))
    harness.connect()
    harness.serve(weights(1.0))
    commit = Commit(record=record_of(plan_next(store)), weights=blob_ref_of(weights(1.0)))
    disk.step = "insert"
    harness.receive(COLLECTOR, commit)
    for told in (True, False):
        harness.handle(Woke(AnnouncementTimer()))
        harness.run_all()
        assert bool(harness.trouble) is told


@pytest.mark.parametrize("size", [0, 1000, 100_000, 1_500_000])
def test_a_blob_that_finds_no_room_is_refused_at_any_byte(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room reserved first, and on systems that cannot reserve."""
    content = bytes(2_000_000)
    folder = BlobFolder(tmp_path)
    with small_disk(size), pytest.raises(StoreError, match="File too large"):
        folder.upload(blob_ref_of(content))
    monkeypatch.setattr("fedbus_repository.stores.upload.reserve_space", lambda _fd, _size: None)
    with small_disk(size):
        upload = folder.upload(blob_ref_of(content))
        for start in range(0, len(content), 300_000):
            upload.write(start, content[start : start + 300_000])
        with pytest.raises(StoreError, match="File too large"):
            upload.read(0, 10)
        with pytest.raises(StoreError, match="File too large"):
            upload.keep()
    assert list((tmp_path / "uploads").iterdir()) == []
    assert folder.open(blob_ref_of(content).digest) is None
    folder.close()


def test_a_database_that_finds_no_room_keeps_what_it_had(store: SqliteStore) -> None:
    """SQLite's own writes fail too, in the middle of a transaction."""
    plan = plan_next(store)
    blob = put(store, weights(1.0))
    grown = (store.folder / "repository.db-wal").stat().st_size
    for size in range(grown, grown + 3000, 500):
        with small_disk(size), pytest.raises(StoreError, match=r"repository\.db"):
            store.commit(record_of(plan), blob)
        assert load(store).rounds == 0
    store.commit(record_of(plan), blob)
    assert check_records(store).rounds == 1


def test_a_folder_that_another_process_uses_is_refused(tmp_path: Path) -> None:
    """Two repositories on one folder would sweep each other's uploads."""
    with (
        locked_by_another_process(tmp_path / "lock"),
        pytest.raises(StoreError, match="another repository uses this folder"),
    ):
        SqliteStore(tmp_path)
    SqliteStore(tmp_path).close()


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    """A person must look at it; nothing is swept meanwhile."""
    store = SqliteStore(tmp_path)
    push(store)
    store.close()
    content = bytearray((tmp_path / "repository.db").read_bytes())
    (tmp_path / "repository.db").write_bytes(b"not a database, but as long as one" * 100)
    with pytest.raises(DamagedDatabaseError, match="file is not a database; `fedbus store check`"):
        SqliteStore(tmp_path)
    for page in range(1, len(content) // 4096):
        damaged = content[: 4096 * page] + b"\xff" * 4096 + content[4096 * (page + 1) :]
        (tmp_path / "repository.db").write_bytes(damaged)
        with pytest.raises(DamagedDatabaseError, match="`fedbus store restore` makes a new store"):
            SqliteStore(tmp_path)
    assert len(list(tmp_path.glob("blobs/*/*"))) == 3
    (tmp_path / "repository.db").write_bytes(content)
    SqliteStore(tmp_path).close()


@pytest.mark.parametrize("left", [None, b"", "no tables"])
def test_no_new_database_takes_the_place_of_a_lost_one(tmp_path: Path, left: Any) -> None:  # noqa: ANN401 - what the file has
    """The blobs may be all that is left, and a new store would hide that records are gone."""
    store = SqliteStore(tmp_path)
    push(store)
    store.close()
    path = tmp_path / "repository.db"
    path.unlink()
    if left == "no tables":
        other = sqlite3.connect(path)
        other.execute("PRAGMA journal_mode = WAL")
        other.close()
    elif left is not None:
        path.write_bytes(left)
    with pytest.raises(DamagedDatabaseError, match=r"blobs of its store.*set FEDBUS_DATA"):
        SqliteStore(tmp_path)
    assert path.exists() is (left is not None)
    assert len(list(tmp_path.glob("blobs/*/*"))) == 3


def test_a_store_that_loses_its_blobs_goes_on(store: SqliteStore, disk: Disk) -> None:
    """What is open can still be read, no new version names what is gone, and pushes refill it."""
    version = commit_next(store, 1.0).version
    assert store.open_blob(version.weights.digest) is not None
    shutil.rmtree(store.folder / "blobs")
    shutil.rmtree(store.folder / "uploads")
    served = store.open_blob(version.weights.digest)
    assert served is not None
    assert served.read(0, 2**20) == weights(1.0)
    assert not store.holds(version.weights)
    plan = plan_next(store)
    with pytest.raises(StoreError, match=r"is missing: restore .*push the same content again"):
        store.commit(record_of(plan), version.weights)
    disk.step, disk.number = "sync_folder", errno.EIO
    with pytest.raises(StoreError, match=r"Input/output error; the disk is failing"):
        put(store, weights(2.0))
    store.commit(record_of(plan), put(store, weights(2.0)))
    for content in (weights(0.0), weights(1.0), spec(), FILE):
        put(store, content)
    assert check_records(store).versions == 3
    assert all(store.holds(blob) for each in store.history() for blob in each.version.blobs)


def test_nothing_is_written_to_a_database_that_was_deleted(store: SqliteStore) -> None:
    """It would be answered, and be gone at the next start."""
    plan = plan_next(store)
    path, kept = store.folder / "repository.db", store.folder / "kept"
    path.rename(kept)
    blob = put(store, weights(1.0))
    with pytest.raises(StoreError, match="was deleted or replaced while the repository uses it"):
        store.commit(record_of(plan), blob)
    assert load(store).rounds == 0
    kept.rename(path)
    store.commit(record_of(plan), blob)
    assert check_records(store).rounds == 1


def test_a_newer_stores_tables_are_refused(tmp_path: Path) -> None:
    """An older fedbus would write what a newer one cannot read."""
    SqliteStore(tmp_path).close()
    db = sqlite3.connect(tmp_path / "repository.db")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match=f"expected tables of schema {SCHEMA}, got 99"):
        SqliteStore(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file in its place, a read-only mount, a typing error."""
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(StoreError, match=r"opening the store: .*data"):
        SqliteStore(tmp_path / "data")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "blobs").write_bytes(b"")
    with pytest.raises(StoreError, match=r"preparing the store: .*other"):
        SqliteStore(tmp_path / "other")
