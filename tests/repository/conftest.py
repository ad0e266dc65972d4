"""Every store there is, so that the same tests run on each."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from fedbus.wire.blobs import BlobRef
from fedbus.wire.timestamps import format_timestamp, parse_timestamp
from fedbus_repository.core import RepositoryCore
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.files import blob_path
from fedbus_repository.stores.mongo.blobs import GridFsBlobs
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings
from fedbus_repository.stores.mongo.mongo_store import MongoStore
from fedbus_repository.stores.sqlite.store import SqliteStore
from tests.repository.harness import AT, REPOSITORY, Harness
from tests.repository.stores.mongo_faults import replace_in_gridfs
from tests.repository.stores.mongo_server import MongoServer

Open = Callable[[], Store]
ReplaceBlob = Callable[[BlobRef, bytes | None], None]

_databases = count(1)


class Clock:
    """Clock that timestamps jobs and versions; a test may move it."""

    def __init__(self) -> None:
        self.now = AT

    def wait(self, seconds: float) -> None:
        """Move the clock forward."""
        self.now = format_timestamp(parse_timestamp(self.now) + seconds)


@pytest.fixture
def clock() -> Clock:
    """A clock that stands at AT until it is moved."""
    return Clock()


@pytest.fixture(params=["sqlite", "mongo"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of the MongoDB database that a store is in; empty: it is in a folder."""
    return request.getfixturevalue("mongo_url") if request.param == "mongo" else ""


@pytest.fixture
def reopen(database_url: str, tmp_path: Path, clock: Clock) -> Iterator[Open]:
    """Open the test's store, again after it was closed."""
    opened: list[Store] = []

    def on_mongo() -> Store:
        return MongoStore(
            MongoSettings(database_url),
            lambda connection: GridFsBlobs(connection, tmp_path / "data"),
            keep=3,
            now=lambda: clock.now,
        )

    def open_it() -> Store:
        if opened:
            opened.pop().close()
        if database_url:
            opened.append(on_mongo())
        else:
            opened.append(SqliteStore(tmp_path / "data", keep=3, now=lambda: clock.now))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def replace_blob(database_url: str, tmp_path: Path) -> ReplaceBlob:
    """Put other content in the place of a blob, behind the store's back; None: remove it."""

    def replace_it(blob: BlobRef, content: bytes | None) -> None:
        if database_url:
            replace_in_gridfs(database_url, blob, content)
            return
        path = blob_path(tmp_path / "data", blob.digest)
        path.unlink() if content is None else path.write_bytes(content)

    return replace_it


@pytest.fixture
def store(reopen: Open) -> Store:
    """An empty store that keeps the weights of three versions."""
    return reopen()


@pytest.fixture
def harness(store: Store) -> Harness:
    """A core on an empty store, connected."""
    harness = Harness(RepositoryCore(REPOSITORY, store, lease_seconds=15.0))
    harness.connect()
    return harness


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """A MongoDB test server; a test that stops it starts it again."""
    server = MongoServer(tmp_path_factory.mktemp("mongo"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def mongo_url(mongo_server: MongoServer) -> str:
    """The URL of an empty database."""
    return mongo_server.url(f"test_{next(_databases)}")
