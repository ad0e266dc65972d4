"""Store in a MongoDB database: its records in documents, its blobs beside them."""

from collections.abc import Callable
from secrets import token_bytes
from typing import TypeAlias

from fedbus.core import clock
from fedbus.errors import StoreError
from fedbus.privacy.budget import spent_of
from fedbus.wire.identifiers import Timestamp
from fedbus_repository.stores.blob_storage import BlobStorage
from fedbus_repository.stores.disk import OnStep
from fedbus_repository.stores.ledger_decisions import Accountant
from fedbus_repository.stores.mongo.connection import MongoConnection
from fedbus_repository.stores.mongo.mongo_database import OWNER_SECONDS, MongoRecordDatabase
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings
from fedbus_repository.stores.record_store import RecordStore

OpenBlobs: TypeAlias = Callable[[MongoConnection], BlobStorage]
"""Opens the blobs of a store; called once this process owns the database."""


class MongoStore(RecordStore):
    """A `Store` in one database, used by one process at a time; else it raises StoreError.

    Args:
        settings: The database, and how to log in.
        open_blobs: Opens the place of the blobs.
        keep: Number of versions of a model that keep their weights; see retention.py.
        on_step: Called before and after each write of a record, for fault tests.
        secret: Returns the secret of a new job.
        now: Clock that timestamps jobs and versions.
        accountant: Computes what a job has spent.
        owner_seconds: Time without a sign of an owner after which its database may be taken.
    """

    def __init__(  # noqa: PLR0913 - most have defaults, and are for tests
        self,
        settings: MongoSettings,
        open_blobs: OpenBlobs,
        *,
        keep: int = 10,
        on_step: OnStep = lambda _: None,
        secret: Callable[[], bytes] = lambda: token_bytes(32),
        now: Callable[[], Timestamp] = clock.utc,
        accountant: Accountant = spent_of,
        owner_seconds: float = OWNER_SECONDS,
    ) -> None:
        self._connection = MongoConnection(settings)
        try:
            database = MongoRecordDatabase(
                self._connection, on_step=on_step, owner_seconds=owner_seconds
            )
            try:
                super().__init__(
                    database,
                    open_blobs(self._connection),
                    is_new=database.is_new,
                    keep=keep,
                    secret=secret,
                    now=now,
                    accountant=accountant,
                )
            except StoreError:
                database.close()
                raise
        except StoreError:
            self._connection.close()
            raise

    def close(self) -> None:
        """Release the database, then close its connections; may be called twice."""
        super().close()
        self._connection.close()
