"""Statuses of HTTP for what is wrong with the database of a store."""

import sqlite3
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("motor")

from pymongo.errors import (
    AutoReconnect,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from fedbus.errors import StoreError
from fedbus.http_api.responses import response_of
from fedbus_repository.stores.blob_storage import DamagedBlobError
from fedbus_repository.stores.damaged_records import damage_as_store_errors
from fedbus_repository.stores.files import MissingBlobError
from fedbus_repository.stores.mongo.driver_errors import store_error
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings
from fedbus_repository.stores.mongo.ownership import DatabaseInUseError
from fedbus_repository.stores.sqlite.database_faults import error_of_sqlite


@pytest.mark.parametrize(
    ("code", "status", "retry", "remedy"),
    [
        (sqlite3.SQLITE_FULL, 507, None, "free space on this disk"),
        (sqlite3.SQLITE_READONLY, 503, None, "mount its disk with write access"),
        (sqlite3.SQLITE_IOERR, 503, None, "read the kernel's log"),
        (sqlite3.SQLITE_IOERR_READ, 503, None, "read the kernel's log"),
        (sqlite3.SQLITE_CANTOPEN, 503, None, "read and write it"),
        (sqlite3.SQLITE_BUSY, 503, "10", "try again later"),
        (sqlite3.SQLITE_CORRUPT, 500, None, "`fedbus store restore`"),
        (sqlite3.SQLITE_NOTADB, 500, None, "`fedbus store check`"),
        (sqlite3.SQLITE_ERROR, 500, None, "a fault"),
    ],
)
def test_a_fault_of_sqlite(code: int, status: int, retry: str | None, remedy: str) -> None:
    """By SQLite's code."""
    fault = sqlite3.OperationalError("a fault")
    fault.sqlite_errorcode = code
    error = error_of_sqlite("storing", Path("/data/store.db"), fault)
    answer = response_of(error)
    assert (answer.status, answer.headers.get("Retry-After")) == (status, retry)
    assert remedy in str(error)


@pytest.mark.parametrize(
    ("fault", "status", "retry", "remedy"),
    [
        (OperationFailure("no", 14031), 507, None, "free or add disk space"),
        (OperationFailure("no", 18), 503, None, "FEDBUS_STORE_PASSWORD_FILE"),
        (OperationFailure("no", 13), 503, None, "grant the role readWrite"),
        (ServerSelectionTimeoutError("SSL handshake failed"), 503, None, "the CA that signed"),
        (ServerSelectionTimeoutError("no server"), 503, "10", "Start it or correct FEDBUS_STORE"),
        (AutoReconnect("closed"), 503, "10", "the store continues by itself"),
        (NetworkTimeout("slow"), 503, "10", "load and disk"),
    ],
)
def test_a_fault_of_mongodb(
    fault: PyMongoError, status: int, retry: str | None, remedy: str
) -> None:
    """By the driver's error or the server's code."""
    error = store_error("storing", fault, MongoSettings("mongodb://db/fedbus"), 5.0)
    answer = response_of(error)
    assert (answer.status, answer.headers.get("Retry-After")) == (status, retry)
    assert remedy in str(error)


@pytest.mark.parametrize(
    ("kind", "status"),
    [(MissingBlobError, 500), (DamagedBlobError, 500), (DatabaseInUseError, 503)],
)
def test_other_kinds_of_the_store(kind: type[StoreError], status: int) -> None:
    """Without a time to come back: an operator must mend them."""
    answer = response_of(kind("a sentence"))
    assert (answer.status, answer.headers.get("Retry-After")) == (status, None)


def test_a_damaged_record() -> None:
    """Whatever its damage shows as."""
    with (
        pytest.raises(StoreError, match="`fedbus store check` names it") as caught,
        damage_as_store_errors("reading", "/data/store.db"),
    ):
        raise KeyError("model")
    assert response_of(caught.value).status == 500
