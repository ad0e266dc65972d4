"""The SQLite file of the embedded store: one process opens it, one thread at a time uses it.

WAL and synchronous=FULL: a transaction that has returned survives a cut of power, and one that has
not leaves nothing.
"""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fedbus.errors import StoreError
from fedbus_repository.stores.disk import At, translated
from fedbus_repository.stores.sqlite.tables import SCHEMA, TABLES, UPGRADES

DATABASE = "repository.db"


class Database:
    """The records of a store. `fresh` tells that there were none.

    Raises:
        StoreError: the folder cannot be used, another process uses it, or the file is no database
            of ours.
    """

    def __init__(self, folder: Path, *, durable: bool, at: At) -> None:
        self.folder = folder
        self._at: At = lambda _: None  # a fault test counts from the first request on
        self.lock = threading.RLock()
        with translated("opening the store", folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._held = _held(folder / "lock")
        try:
            self.fresh = not (folder / DATABASE).exists()
            with self._translated("opening the store"):
                self._db = _opened(folder / DATABASE, durable=durable)
            self._make_tables()
            self._at = at
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the folder; the wal is folded into the database. Twice is once."""
        with self.lock, suppress(sqlite3.Error):
            if hasattr(self, "_db"):
                self._db.close()
            if self._held >= 0:
                os.close(self._held)
                self._held = -1

    @contextmanager
    def reading(self, doing: str) -> Iterator[sqlite3.Connection]:
        """Read, while nobody writes.

        Raises:
            StoreError: the disk or the file is damaged.
        """
        with self.lock, self._translated(doing):
            yield self._db

    @contextmanager
    def writing(self, doing: str) -> Iterator[sqlite3.Connection]:
        """Change what is read, all of it or nothing, durably once the block has ended.

        Raises:
            StoreError: the disk is full, broken or read-only; nothing has changed.
        """
        with self.lock, self._translated(doing):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._at("insert")
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                    self._db.rollback()
                raise

    def _make_tables(self) -> None:
        with self.writing("making the tables") as db:
            (schema,) = db.execute("PRAGMA user_version").fetchone()
            if schema == 0:
                for table in TABLES:
                    db.execute(table)
            elif schema in UPGRADES:
                for form in range(schema, SCHEMA):
                    for step in UPGRADES[form]:
                        db.execute(step)
            elif schema != SCHEMA:
                raise StoreError(
                    f"{self.folder}: its tables are of form {schema}; this fedbus reads {SCHEMA}"
                )
            db.execute(f"PRAGMA user_version = {SCHEMA}")

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            with translated(doing, self.folder):
                yield
        except sqlite3.Error as error:
            raise StoreError(f"{doing}: {self.folder / DATABASE}: {error}") from error


def _held(path: Path) -> int:
    # Such a lock belongs to the process and ends with it, however it ends.
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise StoreError(f"{path.parent}: another repository works in this folder") from error
    return fd


def _opened(path: Path, *, durable: bool) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
    except sqlite3.Error:
        db.close()
        raise
    return db
