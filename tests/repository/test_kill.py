"""Killed with -9 at any step of a commit: the old model or the new one, never a mix."""

from pathlib import Path

import pytest

from fedbus.errors import StoreError
from fedbus.simulation.oracle import check_records
from fedbus_repository.stores.records import HistoryEntry
from fedbus_repository.stores.sqlite.sqlite_reader import SqliteReader
from fedbus_repository.stores.sqlite.store import SqliteStore
from tests.repository.faults import STEPS
from tests.repository.forked_calls import ForkedCalls
from tests.repository.harness import (
    JOB,
    MODEL,
    PRIVATE,
    begin,
    commit_private,
    commit_state,
    load,
    push,
)
from tests.repository.store_history import SqliteHistory

FAULTS = "tests.repository.faults"


@pytest.mark.parametrize("after", [0, 7])
@pytest.mark.parametrize("step", STEPS)
def test_a_killed_repository_goes_on_where_it_was(
    calls: ForkedCalls, tmp_path: Path, step: str, after: int
) -> None:
    """What was said to be committed is there; what was not can be committed again."""
    store = SqliteStore(tmp_path, keep=3)
    begin(store)
    store.close()
    killed = calls.run(FAULTS, "die_while_committing", str(tmp_path), step, after)
    assert killed.code == -9, killed.stderr
    said = [int(line) for line in killed.stdout.split()]
    dead = SqliteHistory(tmp_path)
    found = check_records(dead)
    job = dead.job(JOB)
    dead.close()
    assert found.versions - 1 in {len(said), len(said) + 1}
    assert job is not None
    assert job.rounds == found.rounds
    again = SqliteStore(tmp_path, keep=3)
    assert list((tmp_path / "uploads").iterdir()) == []
    versions = [each.version for each in again.history() if each.version.kept]
    kept = {blob.digest for each in versions for blob in each.blobs}
    assert len(list((tmp_path / "blobs").glob("*/*"))) == len(kept) + 2  # the spec and its file
    commit_state(again, 1000.0)
    assert load(again).rounds == found.rounds + 1
    assert check_records(again).versions == found.versions + 1
    again.close()


@pytest.mark.parametrize(
    ("step", "after"),
    [*(("insert", after) for after in range(5)), ("reserve", 1), ("rename", 1), ("unlink", 0)],
)
def test_a_repository_killed_in_a_private_round_understates_nothing(
    calls: ForkedCalls, tmp_path: Path, step: str, after: int
) -> None:
    """Each entry that was answered is there, and so is the ε of each version; the job goes on."""
    store = SqliteStore(tmp_path, keep=3)
    begin(store, strategy=PRIVATE)
    store.close()
    killed = calls.run(FAULTS, "die_in_a_private_round", str(tmp_path), step, after)
    assert killed.code == -9, killed.stderr
    said = [int(line) for line in killed.stdout.split()]
    again = SqliteStore(tmp_path, keep=3)
    ledger = again.job_ledger(JOB)
    assert ledger.entries in {len(said), len(said) + 1}
    spent = [each.version.privacy for each in list(again.history())[1:]]
    assert [each.entries for each in spent if each] == [*range(1, len(spent) + 1)]
    assert ledger.entries - len(spent) in {0, 1}
    commit_private(again, 1000.0)
    assert again.job_ledger(JOB).entries == ledger.entries + 1
    check_records(again)
    again.close()


def test_a_store_is_read_beside_the_repository_and_after_it(tmp_path: Path) -> None:
    """A reader sees one moment until it is refreshed, and disturbs no writer."""
    store = SqliteStore(tmp_path)
    push(store)
    beside = SqliteReader(tmp_path)
    assert versions_in(beside) == [MODEL]
    push(store, 1.0)
    assert versions_in(beside) == [MODEL]
    beside.refresh()
    assert versions_in(beside) == [MODEL, MODEL]
    assert beside.open_blob("0" * 64) is None
    beside.close()
    store.close()
    after = SqliteReader(tmp_path)
    assert versions_in(after) == [MODEL, MODEL]
    after.close()


def versions_in(reader: SqliteReader) -> list[str]:
    """Return the model of each version that a reader finds."""
    return [each.version.model for each in reader.records() if isinstance(each, HistoryEntry)]


@pytest.mark.parametrize("read", [SqliteHistory, SqliteReader])
def test_an_empty_folder_has_no_store(tmp_path: Path, read: type) -> None:
    """A test or a command that looks in the wrong place must not pass."""
    with pytest.raises(StoreError, match="no store in"):
        read(tmp_path)
