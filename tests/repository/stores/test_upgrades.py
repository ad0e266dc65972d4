"""Stores that earlier versions of fedbus wrote, opened by this one.

`schema_3.sql` is what the version before strategies wrote for four jobs of one model.
"""

import json
import sqlite3
from pathlib import Path

import pytest

from fedbus.errors import StoreError
from fedbus.simulation.oracle import check_records
from fedbus.training.params import PluginChoice
from fedbus.wire import codec
from fedbus.wire.messages import ListRelatives, TagVersion
from fedbus.wire.messages.model_requests import Derivation
from fedbus.wire.strategies import Strategy, StrategyState
from fedbus_repository.stores.files import BlobFolder
from fedbus_repository.stores.records import HistoryEntry, Origin, StoredJob, StoreRefusal
from fedbus_repository.stores.sqlite.sqlite_reader import SqliteReader
from fedbus_repository.stores.sqlite.store import SqliteStore
from fedbus_repository.stores.trail_answers import RelativePage
from tests.repository.harness import (
    AT,
    FILE,
    JOB,
    MODEL,
    USER,
    begin,
    commit_next,
    commit_state,
    load,
    push_of,
    put,
    spec,
    weights,
)
from tests.repository.protected_jobs import ENCRYPTED, protected_plan, protected_record

OLD = Path(__file__).with_name("schema_3.sql")


OLD_SPEC_KEYS = {"model", "layout", "architectures", "input", "answers", "classes", "least_batch"}


def old_spec() -> bytes:
    """The spec of the model as that version wrote it: later fields were not there."""
    stated = {key: value for key, value in json.loads(spec()).items() if key in OLD_SPEC_KEYS}
    return json.dumps(stated, separators=(",", ":")).encode()


def write_old(folder: Path, schema: int = 3) -> None:
    """Write the store of an earlier schema, with its blobs."""
    db = sqlite3.connect(folder / "repository.db", isolation_level=None)
    db.executescript(OLD.read_text())
    if schema < 3:
        db.execute("DROP INDEX job_origins")
        db.execute("ALTER TABLE jobs DROP COLUMN origin")
        db.execute("ALTER TABLE jobs DROP COLUMN unsettled")
    if schema < 2:
        db.execute("UPDATE jobs SET created = '2026-11-29 08:53:28'")
        db.execute("UPDATE versions SET created = '2026-11-29 08:53:28'")
        db.execute("ALTER TABLE jobs DROP COLUMN ended")
        db.execute("ALTER TABLE jobs DROP COLUMN forgotten")
    db.execute(f"PRAGMA user_version = {schema}")
    db.close()
    blobs = BlobFolder(folder)
    for content in (old_spec(), FILE, *(weights(value) for value in (0.0, 1.0, 2.0, 3.0, 4.0))):
        put(blobs, content)
    blobs.close()


def make_older(folder: Path, schema: int) -> None:
    """Turn a store into one of schema 6 to 3, by removing what later ones have added."""
    db = sqlite3.connect(folder / "repository.db", isolation_level=None)
    db.execute("DROP TABLE documents")
    db.execute("DROP TABLE configurations")
    db.execute("DROP TABLE name_changes")
    for index in ("branches", "kept_versions", "pushed_versions"):
        db.execute(f"DROP INDEX {index}")
    db.execute("ALTER TABLE versions DROP COLUMN base")
    if schema < 6:
        remove_schema_6(db, schema)
    db.execute(f"PRAGMA user_version = {schema}")
    db.close()


def remove_schema_6(db: sqlite3.Connection, schema: int) -> None:
    """Remove what schema 6 has added, and earlier ones down to `schema`."""
    db.execute("ALTER TABLE versions ADD COLUMN arrays TEXT")
    for version, state in db.execute("SELECT version, state FROM versions").fetchall():
        arrays = None if state is None else codec.unpack(StrategyState, state).arrays
        named = None if arrays is None else arrays.digest
        db.execute("UPDATE versions SET arrays = ? WHERE version = ?", (named, version))
    db.execute("CREATE INDEX kept_weights ON versions (digest) WHERE kept = 1")
    db.execute(
        "CREATE INDEX kept_arrays ON versions (arrays) WHERE kept = 1 AND arrays IS NOT NULL"
    )
    db.execute("DROP TABLE kept_blobs")
    columns = [("versions", name) for name in ("encryption", "thin", "derived", "energy")]
    if schema < 5:
        db.execute("DROP TABLE ledger")
        db.execute("DROP INDEX model_jobs")
        columns += [("jobs", "strategy"), ("jobs", "noise_key"), ("versions", "privacy")]
    if schema < 4:
        db.execute("DROP INDEX kept_arrays")
        columns += [("versions", name) for name in ("strategy", "state", "arrays")]
        columns.append(("jobs", "continues"))
    for table, column in columns:
        db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")


@pytest.mark.parametrize("schema", [1, 2, 3])
def test_an_older_stores_tables_are_upgraded(schema: int, tmp_path: Path) -> None:
    """An upgrade of fedbus keeps the models; times had another format."""
    write_old(tmp_path, schema)
    at = "2026-11-29T08:53:28.000Z" if schema == 1 else AT
    again = SqliteStore(tmp_path)
    job = load(again)
    assert (job.submitted, job.base.at, job.ended, job.forgotten) == (at, at, None, False)
    assert (job.rounds, job.state, job.continues_state) == (1, None, False)
    again.end_job(0, job.job, "finished", "")
    origin = Origin(digest="0" * 64, redelivered=False, seconds=120.0)
    made = [again.store_job(0, name, MODEL, b"{}", origin) for name in ("a", "b")]
    assert [each.job for each in made if isinstance(each, StoredJob)] == ["a", "a"]
    commit_state(again, 5.0, "a")
    assert check_records(again).rounds == 5
    again.close()
    SqliteStore(tmp_path).close()


def mean(*, weighted: bool) -> Strategy:
    """What `round.weighted` of an earlier job file meant."""
    return Strategy(
        id="fedavg", aggregator=PluginChoice(id="mean", parameters={"weighted": weighted})
    )


def test_an_older_record_names_its_strategy_and_its_coefficients(tmp_path: Path) -> None:
    """It was the mean, by the numbers of examples or not; of a plug-in only its name is known."""
    write_old(tmp_path)
    store = SqliteStore(tmp_path)
    records = [each.record for each in store.history() if each.record is not None]
    found = [
        (each.job, each.strategy, [one.coefficient for one in each.contributors])
        for each in records
    ]
    trimmed = Strategy(id="trimmed", aggregator=PluginChoice(id="trimmed"))
    assert found == [
        ("weighted", mean(weighted=True), [1 / 8, 2 / 8, 5 / 8]),
        ("unweighted", mean(weighted=False), [1 / 3] * 3),
        ("foreign", trimmed, [None] * 3),
        (JOB, mean(weighted=True), [1 / 3] * 3),
    ]
    assert {each.state for each in records} == {None}
    assert [each.version.strategy for each in store.history()[1:]] == [
        strategy for _, strategy, _ in found
    ]
    assert commit_next(store, 5.0, strategy=mean(weighted=True)).version.version == 6
    store.close()


def test_a_record_that_names_its_strategy_keeps_it(tmp_path: Path) -> None:
    """Some stores of schema 3 were written between two versions of fedbus."""
    store = SqliteStore(tmp_path)
    begin(store)
    record = commit_next(store, 1.0, strategy=mean(weighted=False)).record
    store.close()
    make_older(tmp_path, 3)
    again = SqliteStore(tmp_path)
    entry = list(again.history())[-1]
    again.close()
    assert entry.record == record
    assert entry.version.strategy == mean(weighted=False)


def test_a_store_without_ledgers_is_upgraded(tmp_path: Path) -> None:
    """Its versions have no ε, as those of jobs without a mechanism."""
    store = SqliteStore(tmp_path)
    begin(store)
    made = commit_next(store, 1.0)
    store.close()
    make_older(tmp_path, 4)
    again = SqliteStore(tmp_path)
    assert list(again.history())[-1] == made
    assert made.version.privacy is None
    assert commit_next(again, 2.0).version.version == 3
    again.close()


def test_a_store_without_encrypted_versions_is_upgraded(tmp_path: Path) -> None:
    """Its versions keep their weights and the arrays of their states, and lose them as before."""
    store = SqliteStore(tmp_path, keep=2)
    begin(store, continued=None)
    for value in (1.0, 2.0):
        commit_state(store, value)
    before = list(store.history())
    store.close()
    make_older(tmp_path, 5)
    again = SqliteStore(tmp_path, keep=2)
    assert list(again.history()) == before
    assert all(again.holds(blob) for each in before for blob in each.version.blobs)
    commit_state(again, 3.0)
    gone = before[1].version.blobs
    assert [again.holds(blob) for blob in gone] == [False, False]
    assert {each.version.encryption for each in before} == {None}
    again.close()


def test_a_store_without_names_is_upgraded(tmp_path: Path) -> None:
    """Which version each was made from follows from its record."""
    store = SqliteStore(tmp_path)
    begin(store, strategy=ENCRYPTED)
    for _ in range(2):
        plan = protected_plan(load(store))
        store.store_plan(2**52, plan)
        record = protected_record(plan, load(store).latest)
        store.commit(record, put(store, b"ciphertexts"))
    store.end_job(2**52, JOB, "finished", "")
    derived = Derivation(kind="release", version=2, by="me")
    store.push(
        push_of(put(store, spec()), put(store, weights(5.0)), reset=True, derived=derived), ()
    )
    store.close()
    make_older(tmp_path, 6)
    store = SqliteStore(tmp_path)
    request = ListRelatives(model=MODEL, version=None, relation="ancestors")
    found = store.relatives(request)
    assert isinstance(found, RelativePage)
    assert [each.version for each in found.versions] == [2, 1]
    assert not isinstance(
        store.tag(TagVersion(model=MODEL, version=4, tag="a"), USER), StoreRefusal
    )
    store.close()


def test_an_older_store_is_read_only_after_its_upgrade(tmp_path: Path) -> None:
    """A reader changes nothing, so it cannot upgrade the tables."""
    write_old(tmp_path)
    with pytest.raises(StoreError, match="schema 3, not 7: start its repository once"):
        SqliteReader(tmp_path)
    SqliteStore(tmp_path).close()
    reader = SqliteReader(tmp_path)
    assert sum(isinstance(each, HistoryEntry) for each in reader.records()) == 5
    reader.close()
