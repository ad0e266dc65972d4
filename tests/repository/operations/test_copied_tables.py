"""Every table and collection of a store is copied: one that a new record kind adds as well."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pymongo.errors import OperationFailure
from typer.testing import CliRunner

from fedbus.cli.main import app
from fedbus_repository.stores.sqlite.database import DATABASE
from tests.repository.operations.seeded_store import seeded_store

OF_PROCESS = {"state", "fs_unfinished"}
"""Collections of the process that uses a database, not of its store."""


def tables(folder: Path) -> dict[str, list[Any]]:
    """Read every row of every table."""
    with closing(sqlite3.connect(folder / DATABASE)) as db:
        names = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            name: sorted(db.execute(f"SELECT * FROM {name}"))  # noqa: S608 - the file's own names
            for (name,) in names
        }


def collections(url: str) -> dict[str, int]:
    """Count the documents of every collection."""
    name = url.rpartition("/")[2]
    with pymongo.MongoClient[dict[str, Any]](url, timeoutMS=20_000) as client:
        counts = {}
        for each in client[name].list_collection_names():
            with suppress(OperationFailure):  # the test server lists tables of its own as well
                counts[each] = client[name][each].count_documents({})
        return counts


def migrate(source: str | Path, target: str | Path) -> None:
    """Run `fedbus store migrate`."""
    result = CliRunner().invoke(app, ["store", "migrate", str(source), str(target)])
    assert result.exit_code == 0, result.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a store with records of every kind."""
    seeded_store(tmp_path / "data").close()
    return tmp_path / "data"


def test_every_table_is_in_a_dump(folder: Path, tmp_path: Path) -> None:
    """A new kind belongs into dumped_records.py, seeded_store.py, and both readers and writers."""
    migrate(folder, tmp_path / "copy")
    expected, found = tables(folder), tables(tmp_path / "copy")
    assert [name for name, rows in expected.items() if not rows] == []
    assert [name for name, rows in expected.items() if rows != found.get(name)] == []


def test_every_collection_is_in_a_dump(folder: Path, mongo_url: str) -> None:
    """The same for MongoDB: a collection that is not copied is empty in the second one."""
    migrate(folder, mongo_url)
    migrate(mongo_url, again := f"{mongo_url}_again")
    first, second = collections(mongo_url), collections(again)
    assert {"jobs", "versions", "ledger", "documents"} <= first.keys()
    names = first.keys() - OF_PROCESS
    assert [name for name in names if not first[name]] == []
    assert [name for name in names if first[name] != second.get(name)] == []
