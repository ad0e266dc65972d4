"""The oracle finds what would break a private job's promise; fault tests stand on it."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fedbus.privacy.noise_key import NoiseKey, read_noise_key
from fedbus.simulation.private_records import check_private_records
from fedbus.simulation.stored_records import RecordsError
from fedbus.wire import codec
from fedbus.wire.round_records import RoundRecord
from fedbus_repository.stores.sqlite.database import DATABASE
from tests.repository.store_history import SqliteHistory
from tests.ring.privacy_storm import private_cluster, run_private
from tests.ring.ring_cluster import RingCluster


def finished(folder: Path, name: str) -> RingCluster:
    """Run a job without faults."""
    cluster, _ = private_cluster(folder, 4)
    run_private(cluster, name)
    cluster.close()
    return cluster


def fault(cluster: RingCluster, key: NoiseKey | None = None) -> str:
    """Return what the oracle finds."""
    updates = cluster.records.updates_of("job-1")
    with (
        closing(SqliteHistory(cluster.folder / "repository")) as history,
        pytest.raises(RecordsError) as found,
    ):
        check_private_records(history, updates, key or read_noise_key(cluster.noise_key))
    return str(found.value)


def change(cluster: RingCluster, sql: str, *values: object) -> None:
    """Change the database behind the repository's back."""
    with closing(sqlite3.connect(cluster.folder / "repository" / DATABASE)) as db, db:
        assert db.execute(sql, values).rowcount > 0


@pytest.mark.parametrize("name", ["fixed", "adaptive", "banded", "poisson", "metric", "median"])
def test_other_noise_is_found(name: str, tmp_path: Path) -> None:
    """A version without noise, or with that of another key, is none that the job may have."""
    cluster = finished(tmp_path, name)
    assert "round 1 of job 'job-1' " in fault(cluster, NoiseKey(bytes(range(1, 33))))


def test_a_missing_entry_is_found(tmp_path: Path) -> None:
    """The noise of its round is in a version, and in no ε."""
    cluster = finished(tmp_path, "fixed")
    change(cluster, "DELETE FROM ledger WHERE number = 3")
    assert "round 3 of job 'job-1' has no ledger entry for its task" in fault(cluster)


def test_an_entry_of_a_lost_task_is_found(tmp_path: Path) -> None:
    """The later entries then count one more than there are."""
    cluster = finished(tmp_path, "banded")
    change(cluster, "DELETE FROM ledger WHERE number = 1")
    assert "entry 1 of job 'job-1' counts (2, " in fault(cluster)


def change_first_record(cluster: RingCluster, spoil: Callable[[RoundRecord], RoundRecord]) -> None:
    """Change the record of the first round."""
    with closing(SqliteHistory(cluster.folder / "repository")) as history:
        record = next(each.record for each in history.history() if each.record is not None)
    packed = codec.pack(spoil(record))
    change(cluster, "UPDATE versions SET record = ? WHERE round = ?", packed, record.round)


def test_a_norm_bit_that_was_changed_is_found(tmp_path: Path) -> None:
    """The ledger's entry names the bits, since their count has noise, too."""
    cluster = finished(tmp_path, "adaptive")

    def other_bit(record: RoundRecord) -> RoundRecord:
        first = record.contributors[0]
        facts = replace(first.facts, norm_bit=1 - (first.facts.norm_bit or 0))
        others = record.contributors[1:]
        return replace(record, contributors=(replace(first, facts=facts), *others))

    change_first_record(cluster, other_bit)
    assert "round 1 of job 'job-1' combines other updates" in fault(cluster)


def test_another_clipping_norm_is_found(tmp_path: Path) -> None:
    """It follows from the norm before, the bits and the noise."""
    cluster = finished(tmp_path, "adaptive")

    def other_norm(record: RoundRecord) -> RoundRecord:
        assert record.state is not None
        numbers = {**record.state.numbers, "clipping_norm": 9.0}
        return replace(record, state=replace(record.state, numbers=numbers))

    change_first_record(cluster, other_norm)
    assert "round 1 of job 'job-1' keeps the numbers" in fault(cluster)


def test_an_update_that_is_too_long_is_found(tmp_path: Path) -> None:
    """Neither its agent nor the collector may have clipped it."""
    cluster = finished(tmp_path, "fixed")

    def lower_limit(record: RoundRecord) -> RoundRecord:
        (transform,) = record.strategy.update_transforms
        parameters = {**transform.parameters, "clipping_norm": 0.01}
        transforms = (replace(transform, parameters=parameters),)
        return replace(record, strategy=replace(record.strategy, update_transforms=transforms))

    change_first_record(cluster, lower_limit)
    assert "and the limit is 0.01" in fault(cluster)
