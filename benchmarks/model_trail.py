"""Milliseconds for pages of a model's history and lineage, with very many versions.

Versions are inserted through the records layer of a store, with records of rounds of ten agents;
then the store answers the requests of users. MongoDB's figures are those of the server that the
tests use, which keeps its documents in SQLite, and say nothing about MongoDB itself.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from benchmarks.measure import middle, publish
from fedbus.digest import digest_of
from fedbus.training.params import PluginChoice
from fedbus.wire.blobs import BlobRef
from fedbus.wire.messages import ListRelatives
from fedbus.wire.messages.model_requests import Derivation
from fedbus.wire.messages.model_trail import NameChange, Relation
from fedbus.wire.round_records import Contributor, RoundRecord
from fedbus.wire.strategies import Strategy
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.files import BlobFolder
from fedbus_repository.stores.mongo.connection import MongoConnection
from fedbus_repository.stores.mongo.mongo_database import MongoRecordDatabase
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings
from fedbus_repository.stores.mongo.mongo_store import MongoStore
from fedbus_repository.stores.record_database import RecordDatabase
from fedbus_repository.stores.records import ModelView, StoreRefusal, Version
from fedbus_repository.stores.sqlite.database import Database
from fedbus_repository.stores.sqlite.store import SqliteStore
from tests.repository.stores.mongo_server import MongoServer

MODEL = "digits"
PAGE = 100
BATCH = 5_000
"""Versions in one transaction."""
AT = "2026-11-29T08:53:28.120Z"
STRATEGY = Strategy(id="fedavg", aggregator=PluginChoice(id="mean", parameters={"weighted": True}))


@dataclass(frozen=True)
class Filling:
    """Number of versions, of which each `every`-th begins a branch, and of promotions."""

    count: int
    every: int
    changes: int


Opener: TypeAlias = Callable[[Path, Filling], AbstractContextManager[tuple[Store, float]]]


def main() -> None:
    """Measure one store after the other, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--versions", type=int, default=100_000, help="on SQLite")
    parser.add_argument("--mongo-versions", type=int, default=10_000, help="0: not measured")
    parser.add_argument(
        "--forks", type=int, nargs="+", default=[1, 100, 10_000], help="branches of the tree"
    )
    parser.add_argument("--changes", type=int, default=1_000, help="promotions")
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    runs: list[tuple[str, Opener, int, int]] = [
        ("SQLite", on_sqlite, options.versions, forks) for forks in options.forks
    ]
    if options.mongo_versions:
        forks = min(100, max(options.forks))
        runs.append(("test server", on_mongo, options.mongo_versions, forks))
    rows: list[dict[str, object]] = []
    for name, opened, count, forks in runs:
        filling = Filling(count, max(2, count // forks), options.changes)
        with (
            TemporaryDirectory(prefix="fedbus-trail-") as folder,
            opened(Path(folder), filling) as (store, seconds),
        ):
            figures = measured(store, count, options.repetitions)
        insert = round(seconds / count * 1e3, 2)
        rows.append(
            {"store": name, "versions": count, "forks": forks, "insert ms": insert, **figures}
        )
    publish({"options": vars(options), "rows": rows}, turned(rows), options.json)


def turned(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return a table with a column for each store, which is narrower."""
    names = [f"{row['store']}, {row['forks']} forks" for row in rows]
    figures = [name for name in rows[0] if name not in {"store", "forks"}]
    return [
        {"": figure, **{name: row[figure] for name, row in zip(names, rows, strict=True)}}
        for figure in figures
    ]


@contextmanager
def on_sqlite(folder: Path, filling: Filling) -> Iterator[tuple[Store, float]]:
    """Fill and open an embedded store; the seconds that filling it took."""
    database = Database(folder / "data", durable=True, on_step=lambda _: None)
    seconds = fill(database, filling)
    database.close()
    store = SqliteStore(folder / "data")
    yield store, seconds
    store.close()


@contextmanager
def on_mongo(folder: Path, filling: Filling) -> Iterator[tuple[Store, float]]:
    """Fill and open a store on the server of the tests."""
    server = MongoServer(folder / "mongo")
    server.start()
    try:
        settings = MongoSettings(server.url("trail"))
        connection = MongoConnection(settings)
        database = MongoRecordDatabase(connection)
        seconds = fill(database, filling)
        database.close()
        connection.close()
        store = MongoStore(settings, lambda _: BlobFolder(folder / "blobs", durable=False))
        yield store, seconds
        store.close()
    finally:
        server.kill()


def fill(database: RecordDatabase, filling: Filling) -> float:
    """Insert versions and promotions; return the seconds that the versions took."""
    count = filling.count
    began = time.perf_counter()
    for first in range(1, count + 1, BATCH):
        with database.writing("filling the trail") as records:
            for number in range(first, min(first + BATCH, count + 1)):
                records.insert_version(*version(number, filling.every), ())
    seconds = time.perf_counter() - began
    with database.writing("filling the names") as records:
        for number in range(1, filling.changes + 1):
            records.append_name_change(promotion(number, count))
    return seconds


def version(number: int, every: int) -> tuple[Version, RoundRecord | None]:
    """Return a version, with the record of its round if one made it."""
    blob = BlobRef(digest=digest_of(b"%d" % number), size=1_000_000)
    stated: dict[str, Any] = {"model": MODEL, "version": number, "weights": blob, "spec": blob}
    pushed = number == 1 or number % every == 0
    stated |= {"parent": number - 1 or None, "pinned": pushed, "kept": False, "at": AT}
    if pushed:
        source = Derivation(kind="release", version=number - every // 2, by="ana (user.ana)")
        root = number == 1 or number // every % 10 == 0
        return Version(**stated, derived=None if root else source), None
    job, round_number = f"job-{number // every}", number % every
    contributors = tuple(
        Contributor(
            agent=f"agent.pi-{each}",
            task=round_number,
            examples=100,
            update=blob.digest,
            metrics={"loss": 0.5},
            coefficient=0.1,
        )
        for each in range(10)
    )
    record = RoundRecord(
        job=job,
        round=round_number,
        task=round_number,
        model=MODEL,
        parent=number - 1,
        spec=blob,
        strategy=STRATEGY,
        contributors=contributors,
        refusals=(),
        metrics={"loss": 0.5},
        seconds={"collected": 1.0},
    )
    made = Version(
        **stated,
        job=job,
        round=round_number,
        contributors=len(contributors),
        metrics={"accuracy": 0.9, "loss": 0.5},
        strategy=STRATEGY,
    )
    return made, record


def promotion(number: int, latest: int) -> NameChange:
    """Return one of many promotions, of ten aliases."""
    return NameChange(
        model=MODEL,
        number=number,
        name=f"alias-{number % 10}",
        kind="promotion",
        version=1 + number % latest,
        replaced=None,
        by="user.ana",
        at=AT,
    )


def measured(store: Store, count: int, repetitions: int) -> dict[str, object]:
    """Return the median milliseconds of each request."""
    middle_version = count // 2

    def relatives(relation: Relation, of: int | None, after: int | None = None) -> int:
        request = ListRelatives(model=MODEL, version=of, relation=relation, limit=PAGE, after=after)
        found = store.relatives(request)
        assert not isinstance(found, StoreRefusal), found
        return len(found.versions)

    def listed(before: int | None, name: str | None = None) -> int:
        found = store.show(MODEL, None, PAGE, before, name=name)
        assert isinstance(found, ModelView), found
        return len(found.history)

    ancestors = store.relatives(
        ListRelatives(model=MODEL, version=count - 1, relation="ancestors", limit=1_000)
    )
    assert not isinstance(ancestors, StoreRefusal)
    last = ancestors.versions[-1].version
    requests: dict[str, Callable[[], int]] = {
        "history": lambda: listed(None),
        "history, middle": lambda: listed(middle_version),
        "models": lambda: len(store.latest()),
        "by alias": lambda: listed(None, "alias-7"),
        "ancestors": lambda: relatives("ancestors", count - 1),
        "ancestors, 1000th": lambda: relatives("ancestors", count - 1, last),
        "descendants": lambda: relatives("descendants", 1),
        "descendants, middle": lambda: relatives("descendants", 1, middle_version),
        "leaves": lambda: relatives("leaves", None),
        "names": lambda: len(store.named_versions()),
    }
    return {f"{name} ms": timed(call, repetitions) for name, call in requests.items()}


def timed(call: Callable[[], int], repetitions: int) -> float:
    """Return the median milliseconds of a call."""
    taken = []
    for _ in range(repetitions):
        began = time.perf_counter()
        call()
        taken.append((time.perf_counter() - began) * 1e3)
    return middle(taken, 2)


if __name__ == "__main__":
    main()
