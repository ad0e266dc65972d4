"""A folder store with records of every kind, for tests of whole copies."""

from pathlib import Path

from fedbus.wire.messages import PromoteVersion
from fedbus_repository.stores.sqlite.store import SqliteStore
from tests.repository.harness import (
    AT,
    JOB,
    MODEL,
    PRIVATE,
    begin,
    commit_next,
    commit_private,
    push,
    put,
)

PRIVATE_JOB = "private-1"
OBJECT_FILE = b"an object file"


def seeded_store(folder: Path) -> SqliteStore:
    """Make a store: an ended job with a state and outdated weights, a private job that runs."""
    store = SqliteStore(folder, keep=2, durable=False, now=lambda: AT)
    push(store, 0.5)
    begin(store)
    for value in (1.0, 2.0, 3.0):
        commit_next(store, value)
    store.end_job(0, JOB, "finished", "all rounds are done")
    push(store, 0.25, "other")
    begin(store, PRIVATE_JOB, "other", strategy=PRIVATE)
    commit_private(store, 1.5, PRIVATE_JOB)
    store.create_document("transformation", "crop", b'{"needs": {"RAM": 1}}')
    store.attach_file("transformation", "crop", put(store, OBJECT_FILE))
    store.promote(PromoteVersion(model=MODEL, alias="production", version=3), "user.cli")
    store.take_lease("controller.1", 7)
    return store
