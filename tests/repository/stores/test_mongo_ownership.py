"""Two repositories on one MongoDB database: one is refused, and one that was paused stops."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedbus.errors import StoreError
from fedbus_repository.stores.mongo.connection import MongoConnection
from fedbus_repository.stores.mongo.mongo_database import MongoRecordDatabase
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings
from fedbus_repository.stores.mongo.ownership import OWNER, STATE, DatabaseInUseError, Ownership
from tests.repository.harness import (
    JOB,
    begin,
    plan_next,
    plan_of,
    push,
    put,
    record_of,
    weights,
)
from tests.repository.stores.mongo_faults import OWNER_SECONDS, kill, open_store


@pytest.fixture
def connection(mongo_url: str) -> Iterator[MongoConnection]:
    """A connection of another process."""
    connection = MongoConnection(MongoSettings(mongo_url))
    yield connection
    connection.close()


def test_a_second_repository_is_refused_while_the_first_runs(
    mongo_url: str, tmp_path: Path
) -> None:
    """It names the process that has the database, and what to do."""
    store = open_store(mongo_url, tmp_path)
    with pytest.raises(DatabaseInUseError, match=r"another repository \(process \d+ on .+ stop it"):
        open_store(mongo_url, tmp_path)
    push(store)
    store.close()
    open_store(mongo_url, tmp_path).close()  # at once


def test_a_killed_owner_is_succeeded_after_a_while(mongo_url: str, tmp_path: Path) -> None:
    """Its document stays, and is not renewed any more."""
    store = open_store(mongo_url, tmp_path)
    push(store)
    kill(store)
    again = open_store(mongo_url, tmp_path)
    assert len(list(again.history())) == 1
    again.close()


def test_a_repository_that_was_paused_writes_nothing_after_its_successor_began(
    mongo_url: str, connection: MongoConnection, tmp_path: Path
) -> None:
    """It finds out before its next operation, and stays without the database."""
    paused = open_store(mongo_url, tmp_path)
    taken = {"$set": {"token": "another", "beats": 1}}
    connection.run("a test", lambda db: db[STATE].update_one(OWNER, taken))
    threading.Event().wait(OWNER_SECONDS)
    for _ in range(2):
        with pytest.raises(DatabaseInUseError, match="has taken the database"):
            push(paused)
    paused.close()
    left = connection.run("a test", lambda db: db[STATE].find_one(OWNER))
    assert left is not None
    assert left["token"] == "another"


def test_a_repository_that_is_paused_before_a_write_does_not_write(
    mongo_url: str, connection: MongoConnection, tmp_path: Path
) -> None:
    """Its successor may have decided otherwise meanwhile."""
    taken = {"$set": {"token": "another", "beats": 1}}

    def pause(step: str) -> None:
        if step == pausing:
            connection.run("a test", lambda db: db[STATE].update_one(OWNER, taken))
            threading.Event().wait(OWNER_SECONDS)

    pausing = ""
    store = open_store(mongo_url, tmp_path, on_step=pause)
    begin(store)
    plan = plan_next(store)
    blob = put(store, weights(1.0))
    pausing = "record"
    with pytest.raises(DatabaseInUseError, match="has taken the database"):
        store.commit(record_of(plan), blob)
    store.close()
    versions = connection.run("a test", lambda db: db["versions"].count_documents({}))
    assert versions == 1


def test_a_plan_that_was_decided_by_an_earlier_one_is_not_stored(
    mongo_url: str, connection: MongoConnection, tmp_path: Path
) -> None:
    """A write on its way during a pause names what it was decided by."""
    later = {"$set": {"task": 7}}

    def change(step: str) -> None:
        if step == changing:
            connection.run("a test", lambda db: db["jobs"].update_one({"_id": JOB}, later))

    changing = ""
    store = open_store(mongo_url, tmp_path, on_step=change)
    plan = plan_of(begin(store))
    changing = "record"
    with pytest.raises(StoreError, match=r"a plan of job .+ the jobs .+ been changed by another"):
        store.store_plan(0, plan)
    assert store.planned(JOB) is None
    store.close()


def test_of_two_that_begin_at_once_one_is_refused(connection: MongoConnection) -> None:
    """Both find no owner, or the same dead one; the database decides."""

    class Late(Ownership):
        """Sees the database as it was before the other one began."""

        def _find(self) -> dict[str, object] | None:
            return seen.pop() if seen else super()._find()

    seen: list[dict[str, object] | None] = [None]
    first, second = Ownership(connection, OWNER_SECONDS), Late(connection, OWNER_SECONDS)
    first.take()
    with pytest.raises(DatabaseInUseError):
        second.take()
    first.release()
    first.release()
    second.release()


def test_documents_of_another_version_are_refused(
    mongo_url: str, connection: MongoConnection, tmp_path: Path
) -> None:
    """And the database is free again for the process that can read them."""
    open_store(mongo_url, tmp_path).close()
    newer = {"$set": {"version": 99}}
    connection.run("a test", lambda db: db[STATE].update_one({"_id": "documents"}, newer))
    with pytest.raises(StoreError, match=r"documents of database .* are of version 99, not 1"):
        open_store(mongo_url, tmp_path)
    assert connection.run("a test", lambda db: db[STATE].find_one(OWNER)) is None


def test_indexes_that_a_database_lacks_are_created(
    mongo_url: str, connection: MongoConnection, tmp_path: Path
) -> None:
    """A start that was interrupted, or an earlier fedbus, has left it without some."""
    store = open_store(mongo_url, tmp_path)
    push(store)
    store.close()
    connection.run("a test", lambda db: db["versions"].drop_index("model_1_version_1"))
    earlier = {"$set": {"indexes": "of an earlier fedbus"}}
    connection.run("a test", lambda db: db[STATE].update_one({"_id": "documents"}, earlier))
    database = MongoRecordDatabase(connection, owner_seconds=OWNER_SECONDS)
    assert not database.is_new
    database.close()
    found = connection.run("a test", lambda db: db["versions"].index_information())
    assert [("model", 1), ("version", 1)] in [list(each["key"]) for each in found.values()]
