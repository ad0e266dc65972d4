"""A data folder's whole trail, for whoever checks it: while a repository works there, or after."""

import sqlite3
from pathlib import Path

from fedbus.blobs.files import FileBlob, open_blob
from fedbus.errors import StoreError
from fedbus_repository.stores.records import HistoryEntry, StoredJob
from fedbus_repository.stores.sqlite import rows
from fedbus_repository.stores.sqlite.database import DATABASE


class SqliteHistory:
    """Reads what a `SqliteStore` wrote into a folder, killed or alive, and changes nothing.

    Raises:
        StoreError: there is no store.
    """

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs"
        path = folder / DATABASE
        if not path.exists():
            raise StoreError(f"no store in {folder}")
        self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)

    def history(self) -> list[HistoryEntry]:
        """Read every version of every model, oldest first."""
        return list(rows.trail(self._db))

    def job(self, name: str) -> StoredJob | None:
        """Read a job."""
        return rows.job(self._db, name)

    def open_blob(self, digest: str) -> FileBlob | None:
        """Find a blob."""
        try:
            return open_blob(self._blobs / digest[:2] / digest)
        except OSError:
            return None

    def close(self) -> None:
        """Let go of it."""
        self._db.close()
