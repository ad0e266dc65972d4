"""Embedded store: records in SQLite, blobs in a folder, no server."""

from collections.abc import Callable
from pathlib import Path
from secrets import token_bytes

from fedbus.core import clock
from fedbus.errors import StoreError
from fedbus.privacy.budget import spent_of
from fedbus.wire.identifiers import Timestamp
from fedbus_repository.stores.disk import OnStep
from fedbus_repository.stores.files import BlobFolder
from fedbus_repository.stores.ledger_decisions import Accountant
from fedbus_repository.stores.record_store import RecordStore
from fedbus_repository.stores.sqlite.database import Database


class SqliteStore(RecordStore):
    """A `Store` in one folder, used by one process at a time; else it raises StoreError.

    Args:
        keep: Number of versions of a model that keep their weights; see retention.py.
        durable: False syncs nothing, for tests.
        on_step: Called before each step on the disk, for fault tests.
        secret: Returns the secret of a new job.
        now: Clock that timestamps jobs and versions.
        accountant: Computes what a job has spent.
    """

    def __init__(  # noqa: PLR0913 - all but the folder have defaults, and are for tests
        self,
        folder: Path,
        *,
        keep: int = 10,
        durable: bool = True,
        on_step: OnStep = lambda _: None,
        secret: Callable[[], bytes] = lambda: token_bytes(32),
        now: Callable[[], Timestamp] = clock.utc,
        accountant: Accountant = spent_of,
    ) -> None:
        self.folder = folder
        database = Database(folder, durable=durable, on_step=on_step)
        try:
            super().__init__(
                database,
                BlobFolder(folder, durable=durable, on_step=on_step),
                is_new=database.is_new,
                keep=keep,
                secret=secret,
                now=now,
                accountant=accountant,
            )
        except StoreError:
            database.close()
            raise
