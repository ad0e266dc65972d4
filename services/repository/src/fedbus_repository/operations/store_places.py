"""Stores by the place that a user names: a folder, a MongoDB database or a backup.

A database's password and CA are named by the repository's own variables.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedbus.errors import SettingsError
from fedbus_repository.operations.backup_folder import BackupReader, is_backup
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings
from fedbus_repository.stores.opening import database_of
from fedbus_repository.stores.sqlite.sqlite_reader import SqliteReader
from fedbus_repository.stores.sqlite.sqlite_writer import SqliteWriter
from fedbus_repository.stores.store_reader import StoreReader, StoreWriter


def open_reader(place: str, *, exclusive: bool = False) -> StoreReader:
    """Open a store to read all of it; `exclusive`: raise StoreError if a repository uses it."""
    if (database := _database(place)) is not None:
        with _driver():
            from fedbus_repository.stores.mongo.mongo_reader import MongoReader  # noqa: PLC0415
        return MongoReader(database, exclusive=exclusive)
    if is_backup(folder := Path(place)):
        return BackupReader(folder)
    return SqliteReader(folder, exclusive=exclusive)


def open_writer(place: str, *, of: str) -> StoreWriter:
    """Open a new store to fill it; a copy of the same source `of` is continued."""
    if (database := _database(place)) is not None:
        with _driver():
            from fedbus_repository.stores.mongo.mongo_writer import MongoWriter  # noqa: PLC0415
        return MongoWriter(database, of=of)
    return SqliteWriter(Path(place), of=of)


def _database(place: str) -> MongoSettings | None:
    if not place.startswith(("mongodb:", "mongodb+srv:")):
        return None
    files = (os.environ.get(f"FEDBUS_STORE_{name}_FILE") for name in ("PASSWORD", "CA"))
    password_file, ca_file = (Path(name) if name else None for name in files)
    return database_of(place, password_file, ca_file)


@contextmanager
def _driver() -> Iterator[None]:
    """Import modules of the database's driver; raise SettingsError if it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"a mongodb:// URL needs the package {error.name}: run"
            " `pip install 'fedbus-repository[mongo]'`"
        ) from error
