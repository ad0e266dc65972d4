"""Whole stores are checked, backed up, restored and migrated, and prove what was copied."""

import json
import os
import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Any

import msgpack
import pytest
from typer.testing import CliRunner, Result

from fedbus.cli.main import app
from fedbus.errors import StoreError
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.messages import TagVersion
from fedbus_repository.operations.backup_folder import MANIFEST, RECORDS
from fedbus_repository.operations.restored_records import EPOCHS_SKIPPED
from fedbus_repository.stores.files import blob_path
from fedbus_repository.stores.opening import database_of, open_store
from fedbus_repository.stores.records import StoredJob
from fedbus_repository.stores.sqlite.database import DATABASE
from fedbus_repository.stores.sqlite.store import SqliteStore
from fedbus_repository.stores.trail_answers import NamedVersions
from tests.page_commands import commands_of
from tests.repository.faults import locked_by_another_process
from tests.repository.harness import AT, JOB, MODEL, begin, commit_next, commit_private
from tests.repository.operations.seeded_store import OBJECT_FILE, PRIVATE_JOB, seeded_store
from tests.repository.stores.mongo_proxy import MongoProxy, refusal
from tests.repository.stores.mongo_server import MongoServer

Damage = Callable[[Path], None]

PAGE_BYTES = 4096


def run(*words: str | Path) -> Result:
    """Run `fedbus store …`."""
    return CliRunner().invoke(app, ["store", *map(str, words)])


def json_of(*words: str | Path, code: int = 0) -> dict[str, Any]:
    """Run `fedbus store … --json`, expect an exit code, and read the output."""
    result = run(*words, "--json")
    assert result.exit_code == code, result.output
    read: dict[str, Any] = json.loads(result.stdout)
    return read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a store that no repository uses."""
    seeded_store(tmp_path / "data").close()
    return tmp_path / "data"


def test_an_intact_store_is_reported_as_such(folder: Path) -> None:
    """Every kind of record is counted, and every blob is read."""
    found = json_of("check", folder)
    assert found["intact"]
    assert found["records"] == {
        "lease": 1,
        "job": 2,
        "name change": 1,
        "version": 6,
        "file": 3,
        "ledger entry": 1,
        "configuration": 1,
        "document": 1,
    }
    assert found["blobs"] == len(list((folder / "blobs").glob("??/*")))
    assert found["unneeded_blobs"] == 0
    said = run("check", folder).stdout
    assert "2 jobs, 1 name change, 6 versions" in said
    assert "is intact" in said


def test_the_page_of_stores_runs_as_printed(tmp_path: Path) -> None:
    """Each line of its section, on a store that no repository uses."""
    data = tmp_path / "data"
    store = SqliteStore(data, durable=False, now=lambda: AT)
    begin(store)
    commit_next(store, 1.0)
    store.close()
    said = []
    for line in commands_of("stores.md", "Check, back up, restore, move"):
        words = Template(line).substitute(DATA=data, FOLDER=tmp_path).split()
        assert words[:2] == ["fedbus", "store"]
        result = run(*words[2:])
        assert result.exit_code == 0, result.output
        said.append(result.output.replace("\n", " "))
    assert f"{data} is intact" in said[0]
    assert f"{tmp_path / 'backup'} is intact" in said[2]
    assert said[3].startswith(f"restored {tmp_path / 'backup'} to {tmp_path / 'restored'}: ")
    assert said[4].startswith(f"migrated {tmp_path / 'restored'} to {tmp_path / 'moved'}: ")


def _overwrite_page(folder: Path, number: int) -> None:
    path = folder / DATABASE
    data = bytearray(path.read_bytes())
    data[PAGE_BYTES * (number - 1) : PAGE_BYTES * number] = b"\xff" * PAGE_BYTES
    path.write_bytes(data)


def _overwrite_table(name: str) -> Damage:
    def change(folder: Path) -> None:
        with sqlite3.connect(folder / DATABASE) as db:
            found = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,))
            (number,) = found.fetchone()
        db.close()
        _overwrite_page(folder, number)

    return change


def _sql(statement: str) -> Damage:
    def change(folder: Path) -> None:
        with sqlite3.connect(folder / DATABASE) as db:
            db.execute(statement)
        db.close()

    return change


def _blob(change: Callable[[Path], object]) -> Damage:
    def damage(folder: Path) -> None:
        with sqlite3.connect(folder / DATABASE) as db:
            (digest,) = db.execute(
                "SELECT digest FROM versions WHERE kept ORDER BY model, version DESC"
            ).fetchone()
        db.close()
        change(blob_path(folder, digest))

    return damage


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _make_socket(path: Path) -> None:
    """Put a file in place of a blob that no user can open, whatever its rights."""
    path.unlink()
    os.mknod(path, stat.S_IFSOCK | 0o600)


def _cut_last_record(path: Path) -> None:
    unpacker = msgpack.Unpacker()
    unpacker.feed(path.read_bytes())
    records = list(unpacker)
    path.write_bytes(b"".join(msgpack.packb(each) for each in records[:-1]))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_overwrite_table("jobs"), "job 'private-1' cannot be read"),
        (_overwrite_table("versions"), "version 3 of model 'digits' cannot be read"),
        (_overwrite_table("files"), "a part of the table files in"),
        (_overwrite_table("lease"), "the lease cannot be read"),
        (lambda folder: (folder / DATABASE).write_bytes(bytes(8192)), "not a database"),
        (lambda folder: (folder / DATABASE).unlink(), "no store in"),
        (_sql("PRAGMA user_version = 3"), "start its repository once"),
        (_sql("DELETE FROM versions WHERE model = 'digits' AND version = 2"), "expected version 2"),
        (_sql("UPDATE versions SET record = NULL WHERE version = 3"), "the record of its round"),
        (_sql("UPDATE versions SET record = x'93' WHERE version = 3"), "cannot be read"),
        (_sql("UPDATE versions SET parent = 77 WHERE version = 3"), "its parent, version 77"),
        (_sql("UPDATE jobs SET base = 9"), "its base, version 9 of model 'digits', is missing"),
        (_sql("UPDATE versions SET kept = 0"), "'production' of model 'digits' names version 3"),
        (_sql("UPDATE name_changes SET change = x'00'"), "change 1 of the names of model 'digits'"),
        (_sql("DELETE FROM jobs"), "there is no such job"),
        (_sql("UPDATE ledger SET entry = x'00'"), "the ledger of job 'private-1' cannot be read"),
        (_sql("DELETE FROM files"), "is not among the files"),
        (_blob(_flip), "is damaged"),
        (_blob(lambda path: path.unlink()), "is missing"),
        (_blob(lambda path: path.write_bytes(b"short")), "has 5 bytes, expected"),
        (_blob(_make_socket), "cannot be read: opening a blob"),
    ],
    ids=[
        *(
            "jobs",
            "versions",
            "file-table",
            "lease",
            "zeros",
            "no-file",
            "schema",
            "gap",
            "no-record",
            "damaged-record",
            "parent",
        ),
        *(
            "base",
            "names",
            "damaged-name",
            "no-job",
            "ledger",
            "files",
            "flipped-bit",
            "no-blob",
            "half-a-blob",
            "unopened-blob",
        ),
    ],
)
def test_damage_is_found_and_named(folder: Path, damage: Damage, sentence: str) -> None:
    """It ends with exit code 1, names what is affected, and changes nothing."""
    damage(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    result = run("check", folder)
    assert result.exit_code == 1, result.output
    assert sentence in result.output.replace("\n", " ")
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    changed = {path.name for path in before if before[path] != after.get(path)}
    assert not changed - {f"{DATABASE}-shm", f"{DATABASE}-wal"}


def test_damage_of_a_page_is_listed_with_how_to_mend_it(folder: Path) -> None:
    """What can be read beside it is counted, every blob is verified, and JSON is printed."""
    path, blobs = folder / DATABASE, len(list((folder / "blobs").glob("??/*")))
    whole = path.read_bytes()
    intact = json_of("check", folder)["records"]
    assert len(whole) // PAGE_BYTES > 30
    for number in range(2, len(whole) // PAGE_BYTES + 1, 2):
        _overwrite_page(folder, number)
        found = json_of("check", folder, code=1)
        assert found["damage"], number
        if found["records"]:
            assert "restore the store from a backup" in found["damage"][0]
            assert found["blobs"] == blobs
            assert found["unneeded_blobs"] == 0
            lost = {kind for kind in intact if found["records"].get(kind, 0) < intact[kind]}
            assert len(lost) <= 1, found
        else:  # the definitions of the tables
            assert "`fedbus store restore` makes a new store" in found["damage"][0]
        path.write_bytes(whole)


@pytest.mark.parametrize("damage", ["{", '{"format": 1}'])
def test_a_backup_whose_manifest_is_damaged_is_reported_as_such(folder: Path, damage: str) -> None:
    """As JSON too."""
    backup = folder.with_name("backup")
    json_of("backup", folder, backup)
    blobs = json_of("check", backup)["blobs"]
    (backup / MANIFEST).write_text(damage)
    blob = max((backup / "blobs").glob("??/*"))
    _flip(blob)
    found = json_of("check", backup, code=1)
    assert (found["intact"], found["records"], found["blobs"]) == (False, {}, blobs - 1)
    assert f"blob {blob.name} is damaged" in found["damage"][1]
    assert "not the manifest of a backup" in found["damage"][0]
    assert "use another backup" in found["damage"][0]


def test_a_file_that_is_no_database_is_reported_as_json(folder: Path) -> None:
    """No record can be read; its blobs are verified."""
    blobs = json_of("check", folder)["blobs"]
    _overwrite_page(folder, 1)
    found = json_of("check", folder, code=1)
    assert (found["intact"], found["records"], found["blobs"]) == (False, {}, blobs)
    assert "`fedbus store restore`" in found["damage"][0]


def test_a_tag_without_weights_is_a_note_and_is_copied(folder: Path) -> None:
    """Stores of earlier versions of fedbus may have one; nothing of them is lost."""
    store = SqliteStore(folder, keep=2, durable=False, now=lambda: AT)
    assert isinstance(
        store.tag(TagVersion(model=MODEL, version=1, tag="old"), "user.cli"), NamedVersions
    )
    store.close()
    _sql("UPDATE versions SET kept = 0 WHERE model = 'digits' AND version = 1")(folder)
    backup, target = folder.with_name("backup"), folder.with_name("new")
    found = json_of("check", folder)
    assert found["intact"]
    [note] = found["notes"]
    assert note.startswith("the tag 'old' of model 'digits' names version 1, whose weights are")
    assert "`fedbus models untag digits old` removes it" in note
    assert "note: the tag 'old'" in run("check", folder).output
    json_of("backup", folder, backup)
    assert json_of("check", backup)["notes"] == found["notes"]
    json_of("restore", backup, target, "--ledgers-complete")
    assert json_of("check", target)["intact"]


def test_a_collection_that_cannot_be_read_is_named(
    folder: Path, mongo_server: MongoServer, mongo_url: str
) -> None:
    """And all others are read."""
    json_of("migrate", folder, mongo_url)
    intact = json_of("check", mongo_url)["records"]
    for collection, kind in (
        *(("name_changes", "name change"), ("ledger", "ledger entry"), ("state", "lease")),
        *(("documents", "document"), ("configurations", "configuration")),
    ):

        def refuse(sent: dict[str, Any], refused: str = collection) -> dict[str, Any] | None:
            is_refused = sent.get("find") == refused and sent["filter"].get("_id") != "documents"
            return refusal(8, "UnknownError") if is_refused else None

        with MongoProxy(mongo_server.port) as proxy:
            proxy.answer = refuse
            name = mongo_url.rpartition("/")[2]
            found = json_of("check", f"mongodb://127.0.0.1:{proxy.port}/{name}", code=1)
        assert found["records"] == {each: intact[each] for each in intact if each != kind}
        where = "the lease" if kind == "lease" else f"a part of the collection {collection} of"
        assert found["damage"][0].startswith(where)
        assert found["damage"][0].endswith("restore the store from a backup")


def test_a_missing_chunk_is_named_with_one_mend(
    folder: Path, mongo_server: MongoServer, mongo_url: str
) -> None:
    """That of the database; each other fault of a blob has another one."""
    json_of("migrate", folder, mongo_url)
    digest = blob_ref_of(OBJECT_FILE).digest
    mongo_server.change_chunk(mongo_url.rpartition("/")[2], digest, 0, None)
    [sentence] = json_of("check", mongo_url, code=1)["damage"]
    assert "chunk 0 of 1 of blob" in sentence
    assert sentence.endswith("restore the database from a backup, or push the same content again")
    assert sentence.count("backup") == 1


def test_a_store_is_backed_up_while_it_is_used(tmp_path: Path) -> None:
    """A second backup copies only what is new, and removes what it no longer needs."""
    store = seeded_store(tmp_path / "data")
    backup = tmp_path / "backup"
    first = json_of("backup", tmp_path / "data", backup)
    assert first["counts"]["version"] == 6
    assert first["copied_blobs"] == first["blobs"]
    commit_private(store, 2.5, PRIVATE_JOB)
    second = json_of("backup", tmp_path / "data", backup)
    assert second["counts"]["version"] == 7
    assert second["copied_blobs"] == 1
    assert json_of("check", backup)["intact"]
    assert json_of("check", backup)["unneeded_blobs"] == 0
    store.close()


@pytest.mark.parametrize(
    "damage",
    [
        lambda backup: (backup / MANIFEST).unlink(),
        lambda backup: (backup / MANIFEST).write_text('{"format": 99}'),
        lambda backup: (backup / MANIFEST).write_text("[]"),
        lambda backup: (backup / RECORDS[0]).write_bytes((backup / RECORDS[0]).read_bytes()[:-9]),
        lambda backup: (backup / RECORDS[0]).write_bytes(b""),
        lambda backup: _cut_last_record(backup / RECORDS[0]),
        lambda backup: next((backup / "blobs").glob("??/*")).unlink(),
        lambda backup: next((backup / "blobs").glob("??/*")).write_bytes(b"short"),
    ],
    ids=["no-manifest", "format", "list", "half", "empty", "lost-record", "no-blob", "half-a-blob"],
)
def test_a_damaged_backup_is_not_restored(folder: Path, damage: Damage) -> None:
    """Nothing is written to the target."""
    backup, target = folder.with_name("backup"), folder.with_name("new")
    json_of("backup", folder, backup)
    damage(backup)
    result = run("restore", backup, target, "--ledgers-complete")
    assert result.exit_code == 1, result.output
    assert not target.exists()


def test_a_backup_with_a_damaged_blob_makes_no_store(folder: Path) -> None:
    """Blobs are read once, while they are copied; the restoration continues with a good blob."""
    backup, target = folder.with_name("backup"), folder.with_name("new")
    json_of("backup", folder, backup)
    damaged = max((backup / "blobs").glob("??/*"), key=lambda path: path.stat().st_size)
    content = damaged.read_bytes()
    _flip(damaged)
    refused = run("restore", backup, target, "--ledgers-complete")
    assert refused.exit_code == 1
    assert f"blob {damaged.name} is damaged" in refused.output.replace("\n", " ")
    with pytest.raises(StoreError, match="unfinished copy"):
        SqliteStore(target)
    damaged.write_bytes(content)
    json_of("restore", backup, target, "--ledgers-complete")
    assert json_of("check", target)["intact"]


def test_a_restored_store_ends_running_jobs_and_skips_epochs(folder: Path) -> None:
    """Nodes refuse a lower epoch, and agents answer a task's number once."""
    backup, target = folder.with_name("backup"), folder.with_name("new")
    json_of("backup", folder, backup)
    refused = run("restore", backup, target)
    assert refused.exit_code == 2
    assert "--ledgers-complete" in refused.output
    assert not target.exists()
    json_of("restore", backup, target, "--ledgers-complete")
    store = SqliteStore(target, keep=2)
    assert store.take_lease("controller.2", 1, expired=1 + EPOCHS_SKIPPED).epoch > EPOCHS_SKIPPED
    job = store.load_job(2**52, PRIVATE_JOB)
    assert isinstance(job, StoredJob)
    assert job.ended is not None
    assert "restored from its backup" in job.ended.reason
    assert job.rounds == 1
    assert len(store.ledger(PRIVATE_JOB)) == 1
    assert all(store.holds(version.weights) for version in store.latest())
    store.close()
    assert run("restore", backup, target, "--ledgers-complete").exit_code == 1  # it has a store


def test_a_migrated_store_is_the_same(folder: Path) -> None:
    """Both sides have equal counts and digests; the target continues the running job."""
    source, target = SqliteStore(folder, keep=2), folder.with_name("new")
    expected, ledger = source.history(), source.ledger(PRIVATE_JOB)
    source.close()
    with locked_by_another_process(folder / "lock"):
        refused = run("migrate", folder, target)
    assert refused.exit_code == 1
    assert "another repository uses" in refused.output.replace("\n", " ")
    result = json_of("migrate", folder, target)
    assert result["counts"]["version"] == len(expected)
    store = SqliteStore(target, keep=2)
    assert store.history() == expected
    assert store.ledger(PRIVATE_JOB) == ledger
    commit_private(store, 2.5, PRIVATE_JOB)
    ended = store.load_job(2**52, JOB)
    assert isinstance(ended, StoredJob)
    assert ended.ended is not None
    store.close()


def test_a_damaged_store_leaves_nothing_in_the_target(folder: Path) -> None:
    """Another source may be migrated there."""
    _sql("UPDATE jobs SET base = 9")(folder)
    target = folder.with_name("target")
    result = run("migrate", folder, target)
    assert result.exit_code == 1, result.output
    assert "store check` lists all damage" in " ".join(result.output.split())
    assert not target.exists()


def test_an_interrupted_migration_is_continued(folder: Path) -> None:
    """Blobs that are there are not copied again; another source is refused."""
    target = folder.with_name("new")
    missing = blob_path(folder, blob_ref_of(OBJECT_FILE).digest)  # documents are copied last
    hidden = missing.with_name("hidden")
    missing.rename(hidden)
    assert run("migrate", folder, target).exit_code == 1
    assert not (target / DATABASE).exists()
    other = folder.with_name("other")
    seeded_store(other).close()
    assert "unfinished copy" in run("migrate", other, target).output.replace("\n", " ")
    hidden.rename(missing)
    result = json_of("migrate", folder, target)
    assert result["copied_blobs"] == 1
    assert json_of("check", target)["intact"]


def test_a_store_is_migrated_to_mongodb_and_back(folder: Path, mongo_url: str) -> None:
    """Both directions prove themselves; backups of both restore to either."""
    back, backup = folder.with_name("back"), folder.with_name("backup")
    there = json_of("migrate", folder, mongo_url)
    assert json_of("check", mongo_url) | {"store": ""} == json_of("check", folder) | {"store": ""}
    assert json_of("migrate", mongo_url, back)["digests"] == there["digests"]
    assert json_of("backup", mongo_url, backup)["digests"] == there["digests"]
    first, second = SqliteStore(folder, keep=2), SqliteStore(back, keep=2)
    assert first.history() == second.history()
    first.close()
    second.close()
    again = run("migrate", folder, mongo_url)
    assert again.exit_code == 1
    assert "has a store already" in again.output.replace("\n", " ")


def test_a_migrated_mongodb_store_continues(folder: Path, mongo_url: str, tmp_path: Path) -> None:
    """Its private job commits the next round, and retention knows every file."""
    json_of("migrate", folder, mongo_url)
    store = open_store(tmp_path / "spools", database_of(mongo_url), keep=2)
    commit_private(store, 2.5, PRIVATE_JOB)
    assert all(store.holds(version.weights) for version in store.latest())
    store.close()
    assert json_of("check", mongo_url)["intact"]


def test_an_unfinished_copy_is_not_used_as_a_store(
    folder: Path, mongo_url: str, tmp_path: Path
) -> None:
    """Neither by a repository nor by a copy of another source; the same one continues."""
    missing = next((folder / "blobs").glob("??/*"))
    hidden = missing.with_name("hidden")
    missing.rename(hidden)
    assert run("migrate", folder, mongo_url).exit_code == 1
    with pytest.raises(StoreError, match="unfinished copy"):
        open_store(tmp_path / "spools", database_of(mongo_url))
    hidden.rename(missing)
    json_of("migrate", folder, mongo_url)
    assert json_of("check", mongo_url)["intact"]


def test_backups_are_whole_while_retention_deletes(tmp_path: Path) -> None:
    """Blobs vanish during the copy; each backup is of one moment, and restores."""
    store = SqliteStore(tmp_path / "data", keep=1, durable=False)
    begin(store)
    stop = threading.Event()

    def commit() -> None:
        value = 1.0
        while not stop.is_set():
            commit_next(store, value)
            value += 1.0

    busy = threading.Thread(target=commit)
    busy.start()
    try:
        for number in range(6):
            backup = tmp_path / f"backup-{number}"
            json_of("backup", tmp_path / "data", backup)
            assert json_of("check", backup)["intact"]
            assert json_of("check", tmp_path / "data")["intact"]
    finally:
        stop.set()
        busy.join()
    store.close()
    json_of("restore", backup, tmp_path / "new")
    assert json_of("check", tmp_path / "new")["intact"]
