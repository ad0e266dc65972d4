"""Stores by the place that a user names: a folder, a MongoDB database or a backup."""

from pathlib import Path

from fedbus_repository.operations.backup_folder import BackupReader, is_backup
from fedbus_repository.stores.sqlite.sqlite_reader import SqliteReader
from fedbus_repository.stores.sqlite.sqlite_writer import SqliteWriter
from fedbus_repository.stores.store_reader import StoreReader, StoreWriter


def open_reader(place: str, *, exclusive: bool = False) -> StoreReader:
    """Open a store to read all of it; `exclusive`: raise StoreError if a repository uses it."""
    folder = Path(place)
    if is_backup(folder):
        return BackupReader(folder)
    return SqliteReader(folder, exclusive=exclusive)


def open_writer(place: str, *, of: str) -> StoreWriter:
    """Open a new store to fill it; a copy of the same source `of` is continued."""
    return SqliteWriter(Path(place), of=of)
