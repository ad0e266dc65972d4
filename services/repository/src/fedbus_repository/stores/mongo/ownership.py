"""Ownership of a MongoDB database: a document that keeps a second repository out.

A folder's lock is released by the kernel when its process ends; a document is not. So the owner
renews it, and a repository that finds one waits until it was not renewed for a while, counted by
its own clock: clocks of two machines are never compared. An owner that was paused renews its
document before it reads or writes again, and stops if another repository has taken it.
"""

import os
import socket
import threading
import time
from contextlib import suppress
from secrets import token_hex
from typing import Any, Final

from fedbus.errors import StoreError, StoreUnusableError
from fedbus_repository.stores.mongo.connection import DuplicateRecordError, MongoConnection

STATE: Final = "state"
"""Collection of single documents: the lease, the owner, the version of the documents."""
OWNER: Final = {"_id": "owner"}
RENEWALS: Final = 4
"""Renewals within the time after which another process may take the document."""
POLLS: Final = 8
"""Looks at another owner's document within that time."""
RELEASE_SECONDS: Final = 2.0
"""A process that ends does not wait longer for a database that is down."""


class DatabaseInUseError(StoreUnusableError):
    """Another repository uses the database."""


class Ownership:
    """The right to use a database, from `take` to `release`. Thread-safe.

    Args:
        connection: The database.
        seconds: Time without a renewal after which another process may take the database.
    """

    def __init__(self, connection: MongoConnection, seconds: float) -> None:
        self._connection, self._seconds = connection, seconds
        self._token, self._beats = token_hex(16), 0
        self._renewed = 0.0
        self._lost = False
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep_renewing, name="store-owner", daemon=True)

    def take(self) -> None:
        """Take the database, if need be after its last owner was not heard of for a while.

        Raises:
            DatabaseInUseError: Another repository renews its document.
            StoreError: The database cannot be reached.
        """
        other = self._find()
        if other is not None:
            self._wait_for_end_of(other)
        began = time.monotonic()
        try:
            if other is None:
                document = OWNER | self._fields()
                self._connection.run("opening the store", lambda db: db[STATE].insert_one(document))
            elif not self._replace(other):
                raise self._in_use(other)
        except DuplicateRecordError:
            raise self._in_use(self._find() or {}) from None
        self._renewed = began
        self._thread.start()

    def check(self, operation: str) -> None:
        """Raise StoreError unless this process has the database, now and for a while.

        Raises:
            DatabaseInUseError: Another repository has taken it: this one must not go on.
            StoreError: The document could not be renewed in time, for now.
        """
        if not self._lost and time.monotonic() - self._renewed < self._seconds / 2:
            return
        self._renew(operation)

    def release(self) -> None:
        """Delete the document: another process can take the database at once."""
        if self._released.is_set():
            return
        self._released.set()
        if self._thread.ident is None:
            return
        mine = OWNER | {"token": self._token}
        with suppress(StoreError):  # else the next owner waits for a while
            self._connection.run(
                "closing the store",
                lambda db: db[STATE].delete_one(mine),
                timeout=RELEASE_SECONDS,
            )

    def _keep_renewing(self) -> None:
        while not self._released.wait(self._seconds / RENEWALS):
            try:
                self._renew("renewing the ownership of the store")
            except (DatabaseInUseError, RuntimeError):  # RuntimeError: the interpreter is ending
                return
            except StoreError:
                continue  # the next operation renews it, or says why not

    def _renew(self, operation: str) -> None:
        with self._lock:
            began = time.monotonic()
            if not self._lost:
                self._lost = not self._replace(OWNER | {"token": self._token})
            if self._lost:
                raise DatabaseInUseError(
                    f"{operation}: another repository has taken the database"
                    f" {self._connection.settings.database_name} at"
                    f" {self._connection.settings.address}, because this one was not heard of for"
                    f" {self._seconds:g} s; stop one of the two"
                )
            self._renewed = began

    def _replace(self, found: dict[str, Any]) -> bool:
        """Write this owner's document over one that was found; False: it has changed."""
        found_by: dict[str, Any] = {
            name: found[name] for name in ("_id", "token", "beats") if name in found
        }
        change = {"$set": self._fields()}
        result = self._connection.run(
            "renewing the ownership of the store",
            lambda db: db[STATE].update_one(found_by, change),
        )
        return bool(result.matched_count)

    def _wait_for_end_of(self, other: dict[str, Any]) -> None:
        end = time.monotonic() + self._seconds
        while time.monotonic() < end:
            self._released.wait(self._seconds / POLLS)
            found = self._find()
            if found is None:
                return
            if any(found.get(name) != other.get(name) for name in ("token", "beats")):
                raise self._in_use(found)

    def _find(self) -> dict[str, Any] | None:
        return self._connection.run("opening the store", lambda db: db[STATE].find_one(OWNER))

    def _fields(self) -> dict[str, Any]:
        self._beats += 1
        process = {"host": socket.gethostname(), "process": os.getpid()}
        return {"token": self._token, "beats": self._beats} | process

    def _in_use(self, other: dict[str, Any]) -> DatabaseInUseError:
        settings = self._connection.settings
        where = f"process {other.get('process', '?')} on {other.get('host', 'another machine')}"
        return DatabaseInUseError(
            f"MongoDB at {settings.address}: another repository ({where}) uses the database"
            f" {settings.database_name}; stop it, or name another database in FEDBUS_STORE"
        )
