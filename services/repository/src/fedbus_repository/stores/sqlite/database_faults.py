"""Faults of an SQLite file: what they mean, and a store whose database is lost."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fedbus.errors import (
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreUnreachableError,
    StoreUnusableError,
)
from fedbus_repository.stores.files import stored_blobs

COPY_NOTE: Final = "copied-from"
"""File in the folder of an unfinished copy; it names the source."""
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_RESTORE: Final = (
    "`fedbus store check` lists all damage, `fedbus store restore` makes a new store from a backup"
)
_REMEDIES: Final = {
    sqlite3.SQLITE_FULL: "; free space on this disk",
    sqlite3.SQLITE_READONLY: "; mount its disk with write access",
    sqlite3.SQLITE_IOERR: "; its disk is full or failing: read the kernel's log",
    sqlite3.SQLITE_CANTOPEN: "; let the user of this process read and write it",
    sqlite3.SQLITE_PERM: "; let the user of this process read and write it",
    sqlite3.SQLITE_BUSY: "; another process uses it: stop that one, or try again later",
    sqlite3.SQLITE_LOCKED: "; another process uses it: stop that one, or try again later",
}


_KINDS: Final[Mapping[int, type[StoreError]]] = {
    sqlite3.SQLITE_FULL: StoreFullError,
    sqlite3.SQLITE_READONLY: StoreUnusableError,
    sqlite3.SQLITE_IOERR: StoreUnusableError,
    sqlite3.SQLITE_CANTOPEN: StoreUnusableError,
    sqlite3.SQLITE_PERM: StoreUnusableError,
    sqlite3.SQLITE_BUSY: StoreUnreachableError,
    sqlite3.SQLITE_LOCKED: StoreUnreachableError,
    sqlite3.SQLITE_NOMEM: StoreUnreachableError,
    sqlite3.SQLITE_INTERRUPT: StoreUnreachableError,
}


class DamagedDatabaseError(StoreDamagedError):
    """The database of a store is damaged or lost; nothing in its folder is changed."""


def error_of_sqlite(operation: str, path: Path, error: sqlite3.Error) -> StoreError:
    """Return the store's error for one of SQLite: what failed, where, and what to do."""
    what = f"{operation}: {path}: {error}"
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code in _DAMAGED:
        return DamagedDatabaseError(f"{what}; {_RESTORE}")
    return _KINDS.get(code, StoreError)(what + _REMEDIES.get(code, ""))


def damaged_database(path: Path, found: str) -> DamagedDatabaseError:
    """Return the error for what SQLite's own check has found."""
    return DamagedDatabaseError(f"{path}: {' '.join(found.split())}; {_RESTORE}")


def check_not_lost(path: Path) -> None:
    """Raise StoreError if a folder has blobs, or half a copy, and no database or an empty one.

    A new database would take these blobs for unneeded ones, and hide that records are lost.
    """
    if path.exists() and path.stat().st_size:
        return
    folder = path.parent
    note = folder / COPY_NOTE
    if note.exists():
        source = note.read_text(encoding="utf-8", errors="replace")[:500]
        raise StoreError(
            f"{folder} has an unfinished copy of {source}: run the same `fedbus store migrate` or"
            " `fedbus store restore` again"
        )
    if has_blobs(folder):
        what = "is empty" if path.exists() else "is missing"
        raise lost_database(path, what)


def has_blobs(folder: Path) -> bool:
    """Return whether a store's folder has any blob."""
    return next(stored_blobs(folder), None) is not None


def lost_database(path: Path, what: str) -> DamagedDatabaseError:
    """Return the error for a folder that has blobs and no records."""
    return DamagedDatabaseError(
        f"{path} {what}, but {path.parent / 'blobs'} has blobs of its store. No new database is"
        " made: `fedbus store restore` makes a new store from a backup. To begin an empty store,"
        " set FEDBUS_DATA to another folder"
    )
