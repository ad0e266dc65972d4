"""Records that were edited by hand into nonsense: one kind of error with a sentence, on each store.

No decision goes on with what it cannot read, and no error is one of the interpreter.
"""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from pymongo import MongoClient

from fedbus.errors import StoreError
from fedbus.wire.messages import (
    ListModels,
    ListNameChanges,
    ListRelatives,
    PromoteVersion,
    ShowModel,
)
from fedbus_repository.core import RepositoryCore
from fedbus_repository.operations.store_check import check_store
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.damaged_records import (
    DamagedModel,
    DamagedRecordError,
    number_of,
    of_type,
)
from fedbus_repository.stores.mongo.blobs import GridFsBlobs
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings
from fedbus_repository.stores.mongo.mongo_store import MongoStore
from fedbus_repository.stores.records import Version
from fedbus_repository.stores.sqlite.sqlite_reader import SqliteReader
from fedbus_repository.stores.sqlite.store import SqliteStore
from fedbus_repository.stores.trail_answers import NamedVersions
from tests.repository.harness import JOB, MODEL, REPOSITORY, Harness, begin, commit_next, push

OTHER = "faces"

Calls: TypeAlias = Mapping[str, Callable[[Store], object]]

CALLS: Calls = {
    "latest": lambda store: store.latest_or_damage()[MODEL],
    "show": lambda store: store.show(MODEL, None, 10),
    "job": lambda store: store.job_facts(JOB),
    "jobs": lambda store: store.jobs_of_model(MODEL, 10),
    "names": lambda store: store.named_versions()[MODEL],
    "changes": lambda store: store.name_changes(ListNameChanges(model=MODEL)),
    "rounds": lambda store: store.rounds_of(JOB, 10),
    "relatives": lambda store: store.relatives(
        ListRelatives(model=MODEL, version=2, relation="ancestors")
    ),
}

Edit: TypeAlias = tuple[str, dict[str, Any], dict[str, Any] | None, str]

EDITS: list[Edit] = [
    ("versions", {"version": 2}, {"$unset": {"weights": 1}}, "show names rounds"),
    ("versions", {"version": 2}, {"$set": {"weights": "nonsense"}}, "show names rounds"),
    ("versions", {"version": 2}, {"$set": {"weights": {"digest": 5, "size": 1}}}, "show rounds"),
    ("versions", {"version": 3}, {"$set": {"strategy": b"\xff\x00"}}, "latest show job rounds"),
    ("versions", {"version": 3}, {"$set": {"strategy": "text"}}, "latest show job rounds"),
    ("versions", {"version": 3}, {"$set": {"version": "three"}}, "show rounds"),
    ("versions", {"version": 3}, {"$set": {"contributors": "many"}}, "latest show job rounds"),
    ("versions", {"version": 3}, {"$set": {"metrics": {"a": 1}}}, "latest show job rounds"),
    (
        "versions",
        {"version": 3},
        {"$set": {"metrics": [{"name": "loss", "value": "high"}]}},
        "latest show job rounds",
    ),
    ("versions", {"version": 1}, None, "job jobs relatives"),
    ("jobs", {}, {"$unset": {"file": 1}}, "job jobs"),
    ("jobs", {}, {"$set": {"file": 7}}, "job jobs"),
    ("jobs", {}, {"$set": {"plan": "x"}}, "job jobs"),
    ("jobs", {}, {"$set": {"base": 99}}, "job jobs"),
    ("jobs", {}, {"$unset": {"phase": 1}}, "job jobs"),
    ("name_changes", {}, {"$set": {"change": 5}}, "show names changes"),
    ("name_changes", {}, {"$unset": {"change": 1}}, "show names changes"),
]


def fill(store: Store) -> None:
    """Make three versions of a model, two of them by a job, and one of another; both are named."""
    push(store, 0.0)
    begin(store)
    for value in (1.0, 2.0):
        commit_next(store, value, metrics={"loss": value})
    push(store, 3.0, OTHER)
    for model, version in ((MODEL, 2), (OTHER, 1)):
        store.promote(PromoteVersion(model=model, alias="production", version=version), "user.a")


def others_are_read(store: Store) -> bool:
    """Return whether what is announced of the other model can be read."""
    latest, names = store.latest_or_damage()[OTHER], store.named_versions()[OTHER]
    listed = OTHER in {each.model for each in store.latest()}
    return isinstance(latest, Version) and isinstance(names, NamedVersions) and listed


def failing(store: Store) -> set[str]:
    """Return the calls that end with the error; any other kind of error is raised."""
    found = set()
    for name, call in CALLS.items():
        try:
            answer = call(store)
        except DamagedRecordError as error:
            answer = DamagedModel(str(error))
        if isinstance(answer, DamagedModel) and "`fedbus store check` names it" in answer.reason:
            found.add(name)
    return found


def mongo_store(url: str, folder: Path) -> MongoStore:
    """Open a store."""
    return MongoStore(
        MongoSettings(url), lambda connection: GridFsBlobs(connection, folder), keep=3
    )


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: f"{edit[0]}-{edit[2]}")
def test_a_document_that_was_edited_into_nonsense_is_a_store_error(
    mongo_url: str, tmp_path: Path, edit: Edit
) -> None:
    """Wherever it is read; the store opens, and what does not need it is answered."""
    collection, found_by, change, damaged = edit
    store = mongo_store(mongo_url, tmp_path)
    fill(store)
    assert failing(store) == set()
    with MongoClient[dict[str, Any]](mongo_url) as client:
        documents = client.get_default_database()[collection]
        if change is None:
            assert documents.delete_one(found_by).deleted_count
        else:
            assert documents.update_one(found_by, change).modified_count
    assert failing(store) >= set(damaged.split())
    assert others_are_read(store)
    store.close()
    mongo_store(mongo_url, tmp_path).close()


@pytest.mark.parametrize(
    ("statement", "damaged"),
    [
        ("UPDATE versions SET metrics = 'x' WHERE version = 3", "latest show job rounds"),
        ("UPDATE versions SET strategy = 'x' WHERE version = 3", "latest show job rounds"),
        ("UPDATE jobs SET base = 99", "job jobs"),
        ("UPDATE jobs SET plan = x'93'", "job jobs"),
        ("UPDATE name_changes SET change = x'00' WHERE model = 'digits'", "show names changes"),
    ],
)
def test_a_row_that_was_edited_into_nonsense_is_a_store_error(
    tmp_path: Path, statement: str, damaged: str
) -> None:
    """As in MongoDB."""
    store = SqliteStore(tmp_path, keep=3)
    fill(store)
    with closing(sqlite3.connect(next(tmp_path.glob("*.db")))) as db:
        assert db.execute(statement).rowcount
        db.commit()
    assert failing(store) >= set(damaged.split())
    assert others_are_read(store)
    store.close()


def test_a_model_whose_latest_version_is_damaged_is_not_announced(tmp_path: Path) -> None:
    """Nor is the version before it; all others are. It is logged once and reported until then."""
    store = SqliteStore(tmp_path, keep=3)
    fill(store)
    harness = Harness(RepositoryCore(REPOSITORY, store))

    def edit(statement: str) -> None:
        with closing(sqlite3.connect(next(tmp_path.glob("*.db")))) as db:
            assert db.execute(statement).rowcount
            db.commit()
        harness.latest.clear()
        harness.aliases.clear()
        harness.connect()

    edit("UPDATE versions SET metrics = 'x' WHERE version = 3")
    assert [each.model for each in harness.latest] == [OTHER]
    assert [each.model for each in harness.aliases] == [MODEL, OTHER]
    harness.connect()
    [noted] = [each.facts for each in harness.notes if each.event == "model_not_announced"]
    assert noted["model"] == MODEL
    assert harness.trouble.startswith("model 'digits' is not announced: ")
    assert "`fedbus store check` names it" in harness.trouble
    [listed] = harness.receive("user.a", ListModels())
    assert [each.model for each in listed.models] == [OTHER]
    [refused] = harness.receive("user.a", ShowModel(model=MODEL))
    assert "is damaged" in refused.reason
    with closing(SqliteReader(tmp_path)) as reader:
        assert "version 3" in str(check_store(reader).damage)
    edit("UPDATE name_changes SET change = x'00' WHERE model = 'digits'")
    assert [each.model for each in harness.aliases] == [OTHER]
    edit("UPDATE versions SET metrics = '{}' WHERE version = 3")
    assert [(each.model, each.version) for each in harness.latest] == [(MODEL, 3), (OTHER, 1)]
    assert harness.trouble
    edit("DELETE FROM name_changes WHERE model = 'digits'")
    assert harness.trouble == ""
    store.close()


def test_a_database_whose_state_was_edited_says_so(mongo_url: str, tmp_path: Path) -> None:
    """The version of its documents, and its owner, which is succeeded."""
    mongo_store(mongo_url, tmp_path).close()
    with MongoClient[dict[str, Any]](mongo_url) as client:
        state = client.get_default_database()["state"]
        state.insert_one({"_id": "owner"})
        store = MongoStore(
            MongoSettings(mongo_url),
            lambda connection: GridFsBlobs(connection, tmp_path),
            owner_seconds=0.2,
        )
        store.close()
        state.update_one({"_id": "documents"}, {"$unset": {"version": 1}})
    with pytest.raises(StoreError, match="are of version None, not 1"):
        mongo_store(mongo_url, tmp_path)


def test_values_of_a_record_have_their_type() -> None:
    """A truth value is no number."""
    assert (of_type(int, 3, "x"), number_of(3, "x"), number_of(0.5, "x")) == (3, 3, 0.5)
    for wrong in (True, "3", None, [3]):
        with pytest.raises(TypeError, match="x: expected int"):
            number_of(wrong, "x")
    assert of_type(bool, True, "x") is True
