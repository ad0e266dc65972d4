"""Passes of a check and of a copy over a store, also over one that changes meanwhile."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedbus.cli.main import app
from fedbus.core import clock
from fedbus.errors import StoreError
from fedbus_repository.operations.backup_folder import BackupReader, BackupWriter
from fedbus_repository.operations.store_check import check_store
from fedbus_repository.operations.store_copy import MAX_BEGINNINGS, StoreCopy
from fedbus_repository.stores.dumped_records import DumpedFile, DumpedRecord, UnreadableRecord
from fedbus_repository.stores.sqlite.sqlite_reader import SqliteReader
from tests.repository.operations.seeded_store import seeded_store

Records = Iterator[DumpedRecord | UnreadableRecord]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a store that no repository uses."""
    seeded_store(tmp_path / "data").close()
    return tmp_path / "data"


class ChangedReader(SqliteReader):
    """Finds a fault in some of its readings, each time another one, as in a store in use."""

    def __init__(self, folder: Path, *, finds_fault: Callable[[int], bool]) -> None:
        super().__init__(folder)
        self._finds_fault, self.readings = finds_fault, 0

    def records(self) -> Records:
        """Read every record, and perhaps one more that cannot be read."""
        self.readings += 1
        yield from super().records()
        if self._finds_fault(self.readings):
            yield UnreadableRecord(f"record {self.readings}", "it is changed at this moment")


def backup_of(folder: Path) -> BackupWriter:
    """Return the writer of a backup beside a store."""
    return BackupWriter(folder.with_name("backup"), source="a test", made=clock.utc())


def test_each_command_reads_the_records_of_an_intact_source_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And those of the copy once, to compare them."""
    read: Counter[str] = Counter()
    for reader in (SqliteReader, BackupReader):

        def counted(
            self: SqliteReader | BackupReader, of: Callable[..., Records] = reader.records
        ) -> Records:
            read[Path(self.place).name] += 1
            return of(self)

        monkeypatch.setattr(reader, "records", counted)
    backup, restored, moved = (str(folder.with_name(name)) for name in ("backup", "new", "moved"))
    for words, expected in (
        (["check", str(folder)], {"data": 1}),
        (["backup", str(folder), backup], {"data": 1, "backup": 1}),
        (["restore", backup, restored, "--ledgers-complete"], {"backup": 1, "new": 1}),
        (["migrate", restored, moved], {"new": 1, "moved": 1}),
    ):
        result = CliRunner().invoke(app, ["store", *words])
        assert result.exit_code == 0, result.output
        assert read == expected
        read.clear()


def test_what_a_repository_changes_meanwhile_is_no_damage(folder: Path) -> None:
    """A fault is found again by a second reading, or it was none."""
    with closing(ChangedReader(folder, finds_fault=lambda number: number == 1)) as reader:
        assert check_store(reader).damage == []
        assert reader.readings == 2
    with (
        closing(ChangedReader(folder, finds_fault=lambda number: number == 1)) as reader,
        closing(StoreCopy(reader)) as copy,
    ):
        assert copy.write(backup_of(folder)).counts["file"] == 3
        assert reader.readings == 2


def test_damage_is_not_copied(folder: Path) -> None:
    """A backup of it would hide what is lost."""
    with closing(SqliteReader(folder)) as reader:
        files = [each for each in reader.records() if isinstance(each, DumpedFile)]

    class DamagedReader(SqliteReader):
        def records(self) -> Records:
            return (each for each in super().records() if each not in files)

    with closing(DamagedReader(folder)) as reader:
        assert len(check_store(reader).damage) == 2  # a spec of each model
        with pytest.raises(StoreError, match=r"is damaged: version 1 .* is not among the files"):
            StoreCopy(reader)


def test_a_source_that_changes_faster_than_it_is_read_is_given_up(folder: Path) -> None:
    """The sentence says how to copy it nevertheless."""
    with closing(ChangedReader(folder, finds_fault=lambda _: True)) as reader:
        with pytest.raises(StoreError, match="copy it while no job runs"):
            StoreCopy(reader)
        assert reader.readings == MAX_BEGINNINGS
