"""SQLite file of the embedded store: opened by one process, used by one thread at a time.

With WAL and synchronous=FULL, a committed transaction survives a power cut, and an uncommitted one
leaves nothing.
"""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fedbus.atomic_write import os_errors_as_store_errors
from fedbus.errors import StoreError, StoreUnusableError
from fedbus_repository.stores.damaged_records import damage_as_store_errors
from fedbus_repository.stores.disk import OnStep
from fedbus_repository.stores.sqlite.database_faults import (
    check_not_lost,
    damaged_database,
    error_of_sqlite,
    has_blobs,
    lost_database,
)
from fedbus_repository.stores.sqlite.sqlite_records import SqliteRecords
from fedbus_repository.stores.sqlite.tables import SCHEMA, TABLES, UPGRADES

DATABASE = "repository.db"


class Database:
    """The records of a store; `is_new`: the file did not exist before.

    A caller that holds the folder's lock itself passes `owns_folder=False`.

    Raises:
        StoreError: The folder cannot be used, another process uses it, or the file is not a
            database of this schema.
    """

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool = True,
        on_step: OnStep = lambda _: None,
        name: str = DATABASE,
        owns_folder: bool = True,
    ) -> None:
        self.folder, self._path = folder, folder / name
        self._on_step: OnStep = lambda _: None  # fault tests count from the first request
        self.lock = threading.RLock()
        with os_errors_as_store_errors(folder, "opening the store"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_fd = lock_folder(folder / "lock") if owns_folder else -1
        try:
            with self._errors_as_store_errors("opening the store"):
                if owns_folder:
                    check_not_lost(self._path)
                self.is_new = not self._path.exists()
                self._db = _open(self._path, durable=durable)
                self._file = _identity(self._path)
            self._create_tables()
            self._on_step = on_step
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Fold the WAL into the database and unlock the folder; may be called twice."""
        with self.lock, suppress(sqlite3.Error):
            if hasattr(self, "_db"):
                self._db.close()
            if self._lock_fd >= 0:
                os.close(self._lock_fd)
                self._lock_fd = -1

    @contextmanager
    def reading(self, operation: str) -> Iterator[SqliteRecords]:
        """Read consistently: no other thread writes meanwhile. A damaged disk raises StoreError."""
        with self.lock, self._errors_as_store_errors(operation):
            yield SqliteRecords(self._db)

    @contextmanager
    def writing(self, operation: str) -> Iterator[SqliteRecords]:
        """Run the block as one transaction, durable once the block has ended.

        A StoreError (the disk is full, broken or read-only) means that nothing has changed.
        """
        with self.lock, self._errors_as_store_errors(operation):
            self._check_in_place()
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield SqliteRecords(self._db)
                self._on_step("insert")
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                    self._db.rollback()
                raise

    def _create_tables(self) -> None:
        with self.writing("creating the tables"):
            db = self._db
            (found,) = db.execute("PRAGMA user_version").fetchone()
            if found == 0:
                if self._lock_fd >= 0 and has_blobs(self.folder):
                    raise lost_database(self._path, "has no tables")
                for table in TABLES:
                    db.execute(table)
            elif found in UPGRADES:
                for schema in range(found, SCHEMA):
                    for step in UPGRADES[schema]:
                        db.execute(step) if isinstance(step, str) else step(db)
            elif found != SCHEMA:
                raise StoreError(
                    f"{self.folder}: expected tables of schema {SCHEMA}, got {found}; "
                    "run the fedbus version that wrote them"
                )
            db.execute(f"PRAGMA user_version = {SCHEMA}")

    @contextmanager
    def _errors_as_store_errors(self, operation: str) -> Iterator[None]:
        try:
            with (
                os_errors_as_store_errors(self.folder, operation),
                damage_as_store_errors(operation, str(self._path)),
            ):
                yield
        except sqlite3.Error as error:
            raise error_of_sqlite(operation, self._path, error) from error

    def _check_in_place(self) -> None:
        """Raise StoreError if the file was deleted or replaced: nothing written would stay."""
        if _identity(self._path) != self._file:
            raise StoreUnusableError(
                f"{self._path} was deleted or replaced while the repository uses it; stop the"
                " repository, and put the file back or use `fedbus store restore`"
            )


def lock_folder(path: Path) -> int:
    """Lock a store's folder for this process; raise StoreError if another process has it."""
    # The kernel releases this lock when the process ends, even if it is killed.
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise StoreError(
            f"{path.parent}: another repository uses this folder; stop it, or set FEDBUS_DATA"
        ) from error
    return fd


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another one of its name; None: it does not exist."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _open(path: Path, *, durable: bool) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        for (found,) in db.execute("PRAGMA quick_check(1)"):
            if found != "ok":
                # What is read of it decides which blobs are deleted.
                raise damaged_database(path, found)
    except (sqlite3.Error, StoreError):
        db.close()
        raise
    return db
