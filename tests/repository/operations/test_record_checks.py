"""Faults that a store's own tables would refuse: a backup or a database may have them."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fedbus_repository.operations.record_checks import RecordChecks
from fedbus_repository.stores.dumped_records import DumpedJob, DumpedRecord
from fedbus_repository.stores.records import HistoryEntry
from fedbus_repository.stores.sqlite.sqlite_reader import SqliteReader
from tests.repository.harness import MODEL
from tests.repository.operations.seeded_store import PRIVATE_JOB, seeded_store

Change = Callable[[DumpedRecord], list[DumpedRecord]]


def run_twice(record: DumpedRecord) -> list[DumpedRecord]:
    """Add a second job that trains the same model."""
    if isinstance(record, DumpedJob) and record.job == PRIVATE_JOB:
        return [record, replace(record, job="twin")]
    return [record]


def repeat_round(record: DumpedRecord) -> list[DumpedRecord]:
    """Make version 4 a second one of version 3's round."""
    if isinstance(record, HistoryEntry) and record.version.model == MODEL:
        version = record.version
        return [replace(record, version=replace(version, round=min(version.round, 2)))]
    return [record]


def lose_jobs(record: DumpedRecord) -> list[DumpedRecord]:
    """Leave the jobs out."""
    return [] if isinstance(record, DumpedJob) else [record]


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        (lambda record: [record], []),
        (run_twice, ["model 'other' is trained by 2 running jobs"]),
        (
            repeat_round,
            ["version 4 of model 'digits': round 2 of job 'digits-1' also made version"],
        ),
        (
            lose_jobs,
            [
                "a ledger entry of job 'private-1': there is no such job",
                *(f"version {n} of model 'digits': its job 'digits-1' is" for n in (2, 3, 4)),
                "version 2 of model 'other': its job 'private-1' is missing",
            ],
        ),
    ],
)
def test_records_that_contradict_others_are_named(
    tmp_path: Path, change: Change, sentences: list[str]
) -> None:
    """Each fault names the record and what it contradicts."""
    seeded_store(tmp_path).close()
    checks = RecordChecks()
    with closing(SqliteReader(tmp_path)) as reader:
        for record in reader.records():
            for changed in change(record):  # type: ignore[arg-type] # the store is intact
                checks.add(changed)
    found = checks.faults()
    assert len(found) == len(sentences), found
    assert all(each.startswith(start) for each, start in zip(found, sentences, strict=True)), found
