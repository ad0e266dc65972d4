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
from tests.repository.forked_calls import ForkedCalls, forked_calls
from tests.repository.harness import AT, REPOSITORY, Harness
from tests.repository.stores.certificates import make_authority
from tests.repository.stores.mongo_faults import replace_in_gridfs
from tests.repository.stores.mongo_proxy import MongoProxy
from tests.repository.stores.mongo_server import MongoServer

Open = Callable[[], Store]
DatabaseOfName = Callable[[str], MongoSettings]
ReplaceBlob = Callable[[BlobRef, bytes | None], None]

PROXY_PASSWORD = "a password, with @:/?% in it"

OVER_TLS = (
    "test_base",
    "test_derived_versions",
    "test_documents",
    "test_job_energy",
    "test_named_versions",
    "test_protection_rules",
)
"""Modules whose tests run on MongoDB behind TLS and a login as well."""

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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test of a store on every kind of store.

    Over TLS, ledgers and records of jobs are tested by the state machines alone: their own tests
    take as long as all others. Tests of handlers decide nothing that a store does not: two of their
    modules, which read most of what is stored, run on MongoDB as well.
    """
    if "store_kind" not in metafunc.fixturenames:
        return
    module = metafunc.module.__name__
    kinds = ["sqlite"]
    if "handlers" not in module or module.endswith(("test_catalog", "test_commits")):
        kinds.append("mongo")
    if module.rpartition(".")[2] in OVER_TLS:
        kinds.append("mongo-tls")
    metafunc.parametrize("store_kind", kinds)


@pytest.fixture
def database(request: pytest.FixtureRequest, store_kind: str) -> MongoSettings | None:
    """The MongoDB database that a store is in, with TLS and a login or not; None: in a folder."""
    if store_kind == "sqlite":
        return None
    url: str = request.getfixturevalue("mongo_url")
    if store_kind == "mongo":
        return MongoSettings(url)
    behind_tls: DatabaseOfName = request.getfixturevalue("mongo_tls")
    return behind_tls(url.rpartition("/")[2])


@pytest.fixture
def reopen(database: MongoSettings | None, tmp_path: Path, clock: Clock) -> Iterator[Open]:
    """Open the test's store, again after it was closed."""
    opened: list[Store] = []

    def on_mongo(database: MongoSettings) -> Store:
        return MongoStore(
            database,
            lambda connection: GridFsBlobs(connection, tmp_path / "data"),
            keep=3,
            now=lambda: clock.now,
        )

    def open_it() -> Store:
        if opened:
            opened.pop().close()
        if database is None:
            folder = tmp_path / "data"
            opened.append(SqliteStore(folder, keep=3, durable=False, now=lambda: clock.now))
        else:
            opened.append(on_mongo(database))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def replace_blob(database: MongoSettings | None, tmp_path: Path) -> ReplaceBlob:
    """Put other content in the place of a blob, behind the store's back; None: remove it."""

    def replace_it(blob: BlobRef, content: bytes | None) -> None:
        if database is not None:
            replace_in_gridfs(database, blob, content)
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
def calls() -> Iterator[ForkedCalls]:
    """Calls in processes that may be killed."""
    with forked_calls() as calls:
        yield calls


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """A MongoDB test server; a test that stops it starts it again."""
    server = MongoServer(tmp_path_factory.mktemp("mongo"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def mongo_tls(
    mongo_server: MongoServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DatabaseOfName]:
    """Databases of the server behind TLS, which a user has to log in for."""
    authority = make_authority(tmp_path_factory.mktemp("tls") / "ca")
    context = authority.server("DNS:localhost", "IP:127.0.0.1")
    with MongoProxy(mongo_server.port, tls=context, users={"fedbus": PROXY_PASSWORD}) as proxy:
        base = f"mongodb://fedbus@localhost:{proxy.port}"
        login = "authSource=admin&authMechanism=SCRAM-SHA-256"

        def database_of_name(name: str) -> MongoSettings:
            url = f"{base}/{name}?{login}"
            return MongoSettings(url, password=PROXY_PASSWORD, ca_file=authority.ca_file)

        yield database_of_name


@pytest.fixture
def mongo_url(mongo_server: MongoServer) -> str:
    """The URL of an empty database."""
    return mongo_server.url(f"test_{next(_databases)}")
