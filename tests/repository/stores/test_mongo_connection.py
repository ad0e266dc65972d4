"""Tests of the connection to MongoDB, on a server process and on ports where none is."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import BulkWriteError, OperationFailure, WTimeoutError

import fedbus_repository
from fedbus.errors import SettingsError, StoreError
from fedbus.mqtt.mosquitto import free_port
from fedbus_repository.stores.mongo.connection import (
    DuplicateRecordError,
    MongoConnection,
    MongoDatabase,
)
from fedbus_repository.stores.mongo.driver_errors import (
    DatabaseFullError,
    DatabaseLoginError,
    DatabaseRightsError,
    DatabaseTimeoutError,
    DatabaseUnreachableError,
    store_error,
)
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings
from tests.repository.stores.mongo_server import MongoServer


@pytest.fixture
def connection(mongo_url: str) -> Iterator[MongoConnection]:
    """A connection to an empty database."""
    connection = MongoConnection(MongoSettings(mongo_url))
    yield connection
    connection.close()


def test_a_worker_thread_writes_and_reads(connection: MongoConnection) -> None:
    """A call runs in the connection's event loop; its result comes back to the caller's thread."""

    async def write_and_read(database: MongoDatabase) -> tuple[str, Any]:
        await database.things.insert_one({"_id": 1, "data": b"\x00\xff"})
        return threading.current_thread().name, await database.things.find_one({"_id": 1})

    thread, found = connection.run("trying", write_and_read)
    assert thread == "mongodb" != threading.current_thread().name
    assert found == {"_id": 1, "data": b"\x00\xff"}


def test_a_duplicate_is_a_duplicate_record(connection: MongoConnection) -> None:
    """A second insert under one key, alone and in a batch, raises the error that stores expect."""
    connection.run("writing", lambda database: database.things.insert_one({"_id": 1}))
    with pytest.raises(DuplicateRecordError, match="storing it: a record with this key exists"):
        connection.run("storing it", lambda database: database.things.insert_one({"_id": 1}))
    with pytest.raises(DuplicateRecordError):
        connection.run("a batch", lambda database: database.things.insert_many([{"_id": 1}]))


def test_an_operation_ends_at_its_deadline(connection: MongoConnection) -> None:
    """A call that takes longer raises a typed error, and the connection works on."""
    began = time.monotonic()
    with pytest.raises(DatabaseTimeoutError, match=r"waiting: .* within 0\.1 s"):
        connection.run("waiting", lambda _: asyncio.sleep(60), timeout=0.1)
    assert time.monotonic() - began < 10
    assert connection.run("again", lambda database: database.command("ping"))["ok"] == 1


def test_close_ends_calls_that_wait(mongo_url: str) -> None:
    """A stopping process waits for no database; a call after `close` says that it is closed."""
    connection = MongoConnection(MongoSettings(mongo_url))
    inside, raised = threading.Event(), list[StoreError]()

    async def wait(_: MongoDatabase) -> None:
        inside.set()
        await asyncio.sleep(60)

    def call() -> None:
        try:
            connection.run("waiting", wait)
        except StoreError as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert inside.wait(10)
    connection.close()
    thread.join(10)
    assert [str(error) for error in raised] == ["waiting: the store was closed meanwhile"]
    with pytest.raises(StoreError, match="late: the store is closed"):
        connection.run("late", wait)
    connection.close()


def test_no_server_is_unreachable() -> None:
    """The error names the address and what to correct."""
    settings = MongoSettings(f"mongodb://127.0.0.1:{free_port()}/x", connect_seconds=0.3)
    with pytest.raises(DatabaseUnreachableError) as caught:
        MongoConnection(settings)
    assert settings.address in str(caught.value)
    assert "refused" in str(caught.value)
    assert "Topology" not in str(caught.value)


def test_a_server_that_accepts_and_never_answers_times_out() -> None:
    """A port with a listener that is not MongoDB does not hang the start."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = MongoSettings(
            f"mongodb://127.0.0.1:{listener.getsockname()[1]}/x",
            connect_seconds=0.5,
        )
        with pytest.raises(StoreError, match="connecting: MongoDB at"):
            MongoConnection(settings)


def test_a_server_that_knows_no_logins_is_told_apart(mongo_url: str) -> None:
    """The driver fails on the answer of a server that is not MongoDB."""
    url = mongo_url.replace("://", "://user@")
    with pytest.raises(StoreError, match="does not answer as MongoDB does"):
        MongoConnection(MongoSettings(url, password="s3cret", connect_seconds=1))


def test_one_file_imports_the_driver() -> None:
    """Its successor changes one file."""
    root = Path(fedbus_repository.__file__).parent
    importing = [
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if re.search(r"^\s*(import|from) motor", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert importing == ["stores/mongo/connection.py"]


@pytest.mark.parametrize("option", ["authMechanism=NONE", "maxPoolSize=x", "madeUp=1", "odd"])
def test_an_option_that_the_driver_does_not_know_is_refused(option: str) -> None:
    """The driver itself would only warn of it; a misspelt option has no effect."""
    with pytest.raises(SettingsError, match=r"FEDBUS_STORE: "):
        MongoConnection(MongoSettings(f"mongodb://127.0.0.1:{free_port()}/x?{option}"))


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OperationFailure("no", 18), DatabaseLoginError, "'fedbus'"),
        (OperationFailure("no", 13), DatabaseRightsError, "role readWrite on the database m"),
        (OperationFailure("no", 14031), DatabaseFullError, "no space left"),
        (OperationFailure("no", 50), DatabaseTimeoutError, "20 s"),
        (OperationFailure("odd"), StoreError, "odd"),
        (WTimeoutError("slow", 64), DatabaseTimeoutError, "may have been stored"),
        (
            BulkWriteError({"writeErrors": [{"index": 3, "code": 14031}, {"code": "?"}]}),
            DatabaseFullError,
            "disk space",
        ),
        (
            BulkWriteError({"writeErrors": [], "writeConcernErrors": [{"code": 13}]}),
            DatabaseRightsError,
            "readWrite",
        ),
        (OverflowError("MongoDB can only handle up to 8-byte ints"), StoreError, "8-byte"),
    ],
)
def test_errors_of_the_server_have_kinds(
    connection: MongoConnection, error: Exception, kind: type[StoreError], words: str
) -> None:
    """Each error says what failed, where, and what its operator can do."""
    settings = MongoSettings("mongodb://fedbus@db/m", password="s3cret")
    found = store_error("storing a round", error, settings, 20.0)
    assert type(found) is kind
    assert str(found).startswith("storing a round: MongoDB at db")
    assert words in str(found)
    assert "s3cret" not in str(found)

    async def fail(_: MongoDatabase) -> None:
        raise error

    with pytest.raises(kind):
        connection.run("failing", fail)


def test_work_resumes_after_the_server_was_killed(
    mongo_server: MongoServer, mongo_url: str
) -> None:
    """While the server is away calls fail in time; what was acknowledged is there afterwards."""
    connection = MongoConnection(MongoSettings(mongo_url, connect_seconds=2, operation_seconds=2))
    try:
        connection.run("writing", lambda database: database.things.insert_one({"_id": 1}))
        mongo_server.kill()
        with pytest.raises(DatabaseUnreachableError):
            connection.run("reading", lambda database: database.things.find_one({"_id": 1}))
        mongo_server.start()
        found = connection.run("reading", lambda database: database.things.find_one({"_id": 1}))
        assert found == {"_id": 1}
    finally:
        mongo_server.start_if_stopped()
        connection.close()
