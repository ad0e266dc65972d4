"""Database of a MongoDB store: indexes, version of the documents, owner, and blocks of operations.

The lock of this one process serializes decisions, so that a block needs no transaction.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from fedbus.digest import digest_of
from fedbus.errors import StoreError
from fedbus_repository.stores.damaged_records import damage_as_store_errors
from fedbus_repository.stores.disk import OnStep
from fedbus_repository.stores.mongo.collections import Collections
from fedbus_repository.stores.mongo.connection import MongoConnection
from fedbus_repository.stores.mongo.mongo_records import INDEXES, MongoRecords
from fedbus_repository.stores.mongo.ownership import STATE, Ownership

DOCUMENTS: Final = 1
"""Version of the documents; those of another one are refused."""
VERSION_OF_DOCUMENTS: Final = {"_id": "documents"}
_INDEXES_DIGEST: Final = digest_of(repr(INDEXES).encode())
"""Digest of the indexes that a database has: a later fedbus creates those that it adds."""
COPY: Final = "copy"
"""The document in `STATE` of a copy that is not finished; its `source` says what is copied."""
OWNER_SECONDS: Final = 10.0
"""Time after which a repository takes a database whose owner was killed."""


class MongoRecordDatabase:
    """The records of a store; `is_new`: the database had none before.

    Args:
        connection: The database; the caller closes it.
        on_step: Called before and after each write of a record, for fault tests.
        owner_seconds: Time without a sign of an owner after which its database may be taken.

    Raises:
        StoreError: The database cannot be reached, another repository uses it, or its documents
            are of another version of fedbus.
    """

    def __init__(
        self,
        connection: MongoConnection,
        *,
        on_step: OnStep = lambda _: None,
        owner_seconds: float = OWNER_SECONDS,
    ) -> None:
        self.lock = threading.RLock()
        self._connection, self._on_step = connection, on_step
        settings = connection.settings
        self._place = f"the database {settings.database_name} at {settings.address}"
        self._owner = Ownership(connection, owner_seconds)
        self._owner.take()
        try:
            self.is_new = self._prepare()
        except StoreError:
            self._owner.release()
            raise

    @contextmanager
    def reading(self, operation: str) -> Iterator[MongoRecords]:
        """Read consistently: no other thread writes meanwhile."""
        with self.lock, damage_as_store_errors(operation, self._place):
            self._owner.check(operation)

            def on_step(step: str) -> None:
                self._on_step(step)
                if step == "record":  # this process may have been paused since the block began
                    self._owner.check(operation)

            yield MongoRecords(Collections(self._connection, operation, on_step))

    @contextmanager
    def writing(self, operation: str) -> Iterator[MongoRecords]:
        """Write; each write is durable when it returns, on a majority of the servers."""
        with self.reading(operation) as records:
            yield records

    def close(self) -> None:
        """Release the database for another process; may be called twice."""
        with self.lock:
            self._owner.release()

    def _prepare(self) -> bool:
        """Create what the database lacks; return whether it was new."""
        found = read_documents_version(self._connection)
        if found is not None and found.get("indexes") == _INDEXES_DIGEST:
            return False
        unfinished = self._connection.run(
            "opening the store", lambda db: db[STATE].find_one({"_id": COPY})
        )
        if unfinished is not None:
            settings = self._connection.settings
            raise StoreError(
                f"MongoDB at {settings.address}: the database {settings.database_name} has an"
                f" unfinished copy of {unfinished['source']}; run the same `fedbus store` command"
                " again, or drop the database"
            )
        create_indexes(self._connection)
        # Last, so that the next start creates what an interrupted one has not.
        write_documents_version(self._connection)
        return found is None


def create_indexes(connection: MongoConnection) -> None:
    """Create the indexes of all collections, unless they exist."""
    for collection, indexes in INDEXES.items():
        for fields, options in indexes:
            keys = [(field, 1) for field in fields]
            connection.run(
                "creating an index",
                lambda db, c=collection, k=keys, o=options: db[c].create_index(k, **o),  # type: ignore[misc]  # defaults
            )


def write_documents_version(connection: MongoConnection) -> None:
    """Write that the database is a store, and the version of its documents and indexes."""
    change = {"$set": {"version": DOCUMENTS, "indexes": _INDEXES_DIGEST}}
    connection.run(
        "creating the store",
        lambda db: db[STATE].update_one(VERSION_OF_DOCUMENTS, change, upsert=True),
    )


def read_documents_version(connection: MongoConnection) -> Mapping[str, Any] | None:
    """Read the document that states a database's version, None if it has no store.

    Raises:
        StoreError: It is not the version that this process reads and writes.
    """
    found = connection.run("opening the store", lambda db: db[STATE].find_one(VERSION_OF_DOCUMENTS))
    if found is not None and found.get("version") != DOCUMENTS:
        settings = connection.settings
        raise StoreError(
            f"MongoDB at {settings.address}: the documents of database {settings.database_name} are"
            f" of version {found.get('version')}, not {DOCUMENTS}; run the fedbus version that"
            " wrote them"
        )
    return found
