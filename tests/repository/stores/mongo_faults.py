"""MongoDB stores for tests: opened on a server, failing at a chosen write, or killed there."""

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from fedbus.errors import StoreError
from fedbus.wire.blobs import BlobRef
from fedbus_repository.stores.mongo.blobs import GridFsBlobs
from fedbus_repository.stores.mongo.connection import MongoConnection
from fedbus_repository.stores.mongo.gridfs_files import (
    CHUNKS,
    FILES,
    checksum,
    chunk_document,
    file_document,
)
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings
from fedbus_repository.stores.mongo.mongo_store import MongoStore
from tests.repository.faults import killing_at
from tests.repository.harness import AT, commit_state

OWNER_SECONDS = 0.2


class KilledError(BaseException):
    """The process was killed with -9 in a step: nothing of it runs any more."""


class WriteFault:
    """Raises an error at a step, after some others went well.

    Attributes:
        step: "record" (before a write reaches the database), "recorded" (its answer is lost); "" is
            no step.
        left: How many of these steps go well.
    """

    def __init__(self, error: type[BaseException] = StoreError) -> None:
        self.step, self.left = "", 0
        self._error = error

    def __call__(self, step: str) -> None:
        """Take a step."""
        if step == self.step:
            self.left -= 1
            if self.left < 0:
                self.step = ""
                raise self._error(f"a fault at the step {step!r}")


def open_store(
    database: str | MongoSettings,
    folder: Path,
    *,
    on_step: Callable[[str], None] = lambda _: None,
    keep: int = 3,
) -> MongoStore:
    """Open a store, at a URL or by settings, whose secrets and times are always the same."""
    return MongoStore(
        MongoSettings(database) if isinstance(database, str) else database,
        lambda connection: GridFsBlobs(connection, folder),
        keep=keep,
        on_step=on_step,
        secret=lambda: b"secret",
        now=lambda: AT,
        owner_seconds=OWNER_SECONDS,
    )


def kill(store: MongoStore) -> None:
    """End what a killed process would not do any more; its owner document stays."""
    owner = store._database._owner  # type: ignore[attr-defined]  # noqa: SLF001 - of its dead process
    owner._released.set()  # noqa: SLF001
    owner._thread.join()  # noqa: SLF001
    with suppress(StoreError):
        store._connection.close()  # noqa: SLF001


def digests_in_gridfs(url: str) -> set[str]:
    """Return the digests of all blobs in a database."""
    connection = MongoConnection(MongoSettings(url))
    found = connection.run("a test", lambda db: db[FILES].find({}, {"_id": 1}).to_list(None))
    connection.close()
    return {each["_id"] for each in found}


def replace_in_gridfs(database: MongoSettings, blob: BlobRef, content: bytes | None) -> None:
    """Put other content in the place of a blob, as a faulty program would; None: remove it."""
    connection = MongoConnection(database)
    name = {"_id": blob.digest}
    connection.run("a test", lambda db: db[FILES].delete_one(name))
    connection.run("a test", lambda db: db[CHUNKS].delete_many({"files_id": blob.digest}))
    if content is not None:
        other = replace(blob, size=len(content))
        at = datetime(2026, 11, 29, tzinfo=UTC)
        file = file_document(other, [checksum(content)] if content else [], at)
        connection.run("a test", lambda db: db[FILES].insert_one(file))
    if content:
        chunk = chunk_document(blob.digest, 0, content)
        connection.run("a test", lambda db: db[CHUNKS].insert_one(chunk))
    connection.close()


def die_while_committing(url: str, folder: str, step: str, after: int) -> None:
    """Commit round after round of a strategy with a state, and be killed with -9 at a step."""
    store = open_store(url, Path(folder), on_step=killing_at(step, after))
    for number in range(1, 100):
        done = commit_state(store, float(number))
        sys.stdout.write(f"{done.version.version}\n")
        sys.stdout.flush()
