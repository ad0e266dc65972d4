"""A repository on MongoDB while its server is away, frozen, full, or takes rights away.

The oracle is that of every fault test: `check_records` reads all records and blobs back.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedbus.errors import StoreError
from fedbus.simulation.oracle import check_records
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.messages import Commit, Committed
from fedbus_repository.core import RepositoryCore
from fedbus_repository.stores.mongo.blobs import GridFsBlobs
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings
from fedbus_repository.stores.mongo.mongo_store import MongoStore
from tests.repository.harness import (
    COLLECTOR,
    REPOSITORY,
    Harness,
    begin,
    commit_next,
    plan_next,
    record_of,
    weights,
)
from tests.repository.stores.mongo_proxy import MongoProxy, refusal
from tests.repository.stores.mongo_server import MongoServer

OPERATION_SECONDS = 1.0
OWNER_SECONDS = 1.0
"""Time after which another repository might take the database; 10 s outside of tests."""
AWAY_SECONDS = 2 * OWNER_SECONDS


@dataclass
class Deployment:
    """A store with a job and a round, through a proxy, and a core on it."""

    store: MongoStore
    proxy: MongoProxy
    harness: Harness
    settings: MongoSettings
    folder: Path

    def commit(self) -> Commit:
        """The collector's next commit, whose weights it serves."""
        content = weights(2.0)
        self.harness.serve(content)
        return Commit(record=record_of(plan_next(self.store)), weights=blob_ref_of(content))


def open_mongo(
    settings: MongoSettings, folder: Path, owner_seconds: float = OWNER_SECONDS
) -> MongoStore:
    """Open the store."""
    return MongoStore(
        settings,
        lambda connection: GridFsBlobs(connection, folder),
        keep=3,
        owner_seconds=owner_seconds,
    )


@pytest.fixture
def deployment(mongo_server: MongoServer, mongo_url: str, tmp_path: Path) -> Iterator[Deployment]:
    """One that works; its operations have a second."""
    with MongoProxy(mongo_server.port) as proxy:
        url = f"mongodb://127.0.0.1:{proxy.port}/{mongo_url.rpartition('/')[2]}"
        settings = MongoSettings(url, connect_seconds=5.0, operation_seconds=OPERATION_SECONDS)
        store = open_mongo(settings, tmp_path)
        begin(store)
        commit_next(store, 1.0)
        harness = Harness(RepositoryCore(REPOSITORY, store))
        harness.connect()
        yield Deployment(store, proxy, harness, settings, tmp_path)
        proxy.answer = lambda _: None
        mongo_server.start_if_stopped()
        store.close()


def readable(deployment: Deployment) -> bool:
    """Whether the weights of the last version can be read as they were committed."""
    source = deployment.store.open_blob(blob_ref_of(weights(1.0)).digest)
    return source is not None and bytes(source.read(0, source.size)) == weights(1.0)


@pytest.mark.parametrize(
    ("fault", "end", "words"),
    [
        (MongoServer.stop, MongoServer.start, "cannot be reached"),
        (MongoServer.kill, MongoServer.start, "cannot be reached"),
        (MongoServer.freeze, MongoServer.thaw, "did not answer within"),
    ],
)
def test_a_server_that_is_away_pauses_the_round_until_it_is_back(
    deployment: Deployment,
    mongo_server: MongoServer,
    fault: Callable[[MongoServer], None],
    end: Callable[[MongoServer], None],
    words: str,
) -> None:
    """The trouble says why; what is open is served meanwhile; the commit comes again and counts.

    It is away for longer than the repository's ownership of the database lasts without a renewal.
    """
    harness, commit = deployment.harness, deployment.commit()
    assert readable(deployment)
    fault(mongo_server)
    began = time.monotonic()
    while time.monotonic() - began < AWAY_SECONDS:
        before = time.monotonic()
        assert harness.receive(COLLECTOR, commit) == []
        assert time.monotonic() - before < 4 * OPERATION_SECONDS + 2
        assert harness.trouble.startswith("the repository cannot store requests: ")
        assert words in harness.trouble
        assert deployment.settings.address in harness.trouble
        assert readable(deployment)
    end(mongo_server)
    deadline, answers = time.monotonic() + 20, list[object]()
    while not answers and time.monotonic() < deadline:
        answers = harness.receive(COLLECTOR, commit)
    assert [type(answer) for answer in answers] == [Committed]
    assert harness.trouble == ""
    assert check_records(deployment.store).versions == 3
    [again] = harness.receive(COLLECTOR, commit)
    assert again == answers[0]


@pytest.mark.parametrize(
    ("code", "name", "words"),
    [
        (13, "Unauthorized", "grant the role readWrite"),
        (18, "AuthenticationFailed", "FEDBUS_STORE_PASSWORD_FILE"),
        (14031, "OutOfDiskSpace", "no space left"),
        (11600, "InterruptedAtShutdown", "cannot be reached"),
    ],
)
@pytest.mark.parametrize("blobs", [True, False])
def test_a_server_that_refuses_writes_pauses_the_round_until_it_takes_them(
    deployment: Deployment, blobs: bool, code: int, name: str, words: str
) -> None:
    """Reads go on; nothing that was acknowledged is lost, and nothing half done stays visible."""
    harness, commit = deployment.harness, deployment.commit()

    def refuse(sent: dict[str, object]) -> dict[str, object] | None:
        is_of_blobs = str(sent.get("insert", "")).startswith("fs")
        return refusal(code, name) if "insert" in sent and is_of_blobs is blobs else None

    deployment.proxy.answer = refuse
    assert harness.receive(COLLECTOR, commit) == []
    assert words in harness.trouble
    assert readable(deployment)
    assert check_records(deployment.store).versions == 2
    deployment.proxy.answer = lambda _: None
    [answer] = harness.receive(COLLECTOR, commit)
    assert isinstance(answer, Committed)
    assert harness.trouble == ""
    assert check_records(deployment.store).versions == 3


def test_a_damaged_chunk_of_the_base_is_named_and_other_work_goes_on(
    deployment: Deployment, mongo_server: MongoServer, mongo_url: str
) -> None:
    """The version of a round cannot be read from the database, the next one is stored and read."""
    digest = blob_ref_of(weights(1.0)).digest
    mongo_server.change_chunk(mongo_url.rpartition("/")[2], digest, 0, None)
    source = deployment.store.open_blob(digest)
    assert source is not None
    with pytest.raises(StoreError, match=f"chunk 0 of 1 of blob {digest} is missing"):
        source.read(0, 10)
    [answer] = deployment.harness.receive(COLLECTOR, deployment.commit())
    assert isinstance(answer, Committed)
    newest = deployment.store.open_blob(blob_ref_of(weights(2.0)).digest)
    assert newest is not None
    assert bytes(newest.read(0, newest.size)) == weights(2.0)


def test_a_second_repository_on_the_database_is_refused_while_the_first_works(
    deployment: Deployment,
) -> None:
    """And says which process has it."""
    with pytest.raises(StoreError, match="another repository"):
        # It waits for a renewal, which a busy machine may delay.
        open_mongo(deployment.settings, deployment.folder / "second", owner_seconds=10.0)
    [answer] = deployment.harness.receive(COLLECTOR, deployment.commit())
    assert isinstance(answer, Committed)
