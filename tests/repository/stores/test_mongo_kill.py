"""Killed between any two writes of any operation: the next start continues, as if nothing was."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import pytest

from fedbus.errors import StoreError
from fedbus.simulation.oracle import check_records
from fedbus.wire.messages import PromoteVersion, RollBackAlias, TagVersion
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings
from fedbus_repository.stores.records import ConfigurationEntry, Origin, StoredJob
from fedbus_repository.stores.sqlite.store import SqliteStore
from tests.repository.forked_calls import ForkedCalls
from tests.repository.harness import (
    AT,
    JOB,
    MODEL,
    PRIVATE,
    TERMS,
    USER,
    begin,
    commit_next,
    commit_private,
    commit_state,
    entry_for,
    load,
    plan_next,
    plan_of,
    push,
    push_of,
    put,
    record_of,
    spec,
    weights,
)
from tests.repository.store_history import MongoHistory
from tests.repository.stores.mongo_faults import KilledError, WriteFault, kill, open_store

ASKED = replace(
    PRIVATE,
    privacy=replace(
        TERMS,
        mechanism="ldp-laplace",
        release="laplace",
        noise="agents",
        entered="with-plan",
    ),
)
"""A strategy whose agents draw the noise: each plan has a ledger entry."""
CONFIGURATION = json.dumps({"model_name": MODEL, "num_rounds": 3}).encode()
ORIGIN = Origin(digest="0" * 64, redelivered=False, seconds=60.0)


@dataclass(frozen=True)
class Operation:
    """What is there before an operation, the operation, and what comes after it."""

    before: Callable[[Store], object]
    call: Callable[[Store], object]
    after: Callable[[Store], object] = lambda _: None


def store_job(store: Store, *, redelivered: bool = False) -> object:
    """Submit a private job."""
    origin = replace(ORIGIN, redelivered=redelivered)
    return store.store_job(3, JOB, MODEL, b"{}", origin, strategy=PRIVATE)


def commit(store: Store) -> object:
    """Commit the planned round."""
    plan = load(store).plan
    assert plan is not None
    return store.commit(record_of(plan), put(store, weights(float(plan.task))))


def commit_and_plan(store: Store) -> None:
    """Commit as many rounds as versions are kept, and one more, and plan the next."""
    begin(store)
    for value in range(1, 5):
        commit_next(store, float(value))
    plan_next(store)


def commit_with_noise(store: Store) -> object:
    """Commit the planned round with what its ledger entry says."""
    plan = load(store).plan
    assert plan is not None
    noise = store.ledger(JOB)[-1]
    record = record_of(plan, strategy=PRIVATE, privacy=noise.spent)
    return store.commit(record, put(store, weights(2.0)))


def record_noise(store: Store) -> object:
    """Ask to draw the noise of the planned round."""
    plan = load(store).plan
    assert plan is not None
    return store.record_noise(entry_for(plan))


def begin_and_plan(store: Store) -> None:
    """Commit a private round and plan the next one."""
    begin(store, strategy=PRIVATE)
    commit_private(store, 1.0)
    plan_next(store)


def push_again(store: Store) -> object:
    """Push other weights over the model."""
    message = push_of(put(store, spec()), put(store, weights(7.0)), reset=True)
    return store.push(message, ())


def promote(store: Store, version: int) -> object:
    """Make an alias name a version."""
    return store.promote(PromoteVersion(model=MODEL, alias="production", version=version), USER)


OPERATIONS = {
    "lease": Operation(
        lambda store: store.take_lease("controller.1", 1),
        lambda store: store.take_lease("controller.2", 1, expired=1),
    ),
    "job": Operation(push, store_job),
    "job again": Operation(
        lambda store: (push(store), store_job(store)),
        lambda store: store_job(store, redelivered=True),
    ),
    "plan": Operation(begin, lambda store: store.store_plan(0, plan_of(load(store), task=1))),
    "plan with its entry": Operation(
        lambda store: begin(store, strategy=ASKED),
        lambda store: store.store_plan(0, plan_of(load(store), task=1)),
    ),
    "noise": Operation(
        lambda store: (
            begin(store, strategy=PRIVATE),
            commit_private(store, 1.0),
            plan_next(store),
        ),
        record_noise,
    ),
    "round": Operation(commit_and_plan, commit, lambda store: commit_next(store, 9.0)),
    "private round": Operation(
        lambda store: (begin(store, strategy=PRIVATE), plan_next(store), record_noise(store)),
        commit_with_noise,
    ),
    "push": Operation(push, push_again),
    "evaluation": Operation(
        lambda store: (begin(store), commit_next(store, 1.0)),
        lambda store: store.store_evaluation(0, JOB, 1, {"accuracy": 0.5}),
    ),
    "end": Operation(begin, lambda store: store.end_job(0, JOB, "finished", "all rounds")),
    "forgetting": Operation(
        lambda store: (begin(store), store.end_job(0, JOB, "cancelled", "")),
        lambda store: isinstance(store.forget_job(0, JOB), StoredJob),
    ),
    "tag": Operation(
        push, lambda store: store.tag(TagVersion(model=MODEL, version=1, tag="paper"), USER)
    ),
    "promotion": Operation(
        lambda store: (push(store), push_again(store), promote(store, 1)),
        lambda store: promote(store, 2),
    ),
    "roll-back": Operation(
        lambda store: (push(store), push_again(store), promote(store, 1), promote(store, 2)),
        lambda store: store.roll_back(
            RollBackAlias(model=MODEL, alias="production", expected=2), USER
        ),
    ),
    "configuration": Operation(
        push, lambda store: isinstance(store.store_configuration(CONFIGURATION), ConfigurationEntry)
    ),
    "document": Operation(
        push, lambda store: store.create_document("strategy", "mine", b"{}") is not None
    ),
    "changed document": Operation(
        lambda store: store.create_document("strategy", "mine", b"{}"),
        lambda store: store.change_document("strategy", "mine", b'{"a": 1}'),
    ),
    "file of a document": Operation(
        lambda store: store.create_document("strategy", "mine", b"{}"),
        lambda store: store.attach_file("strategy", "mine", put(store, b"a file")),
    ),
}


def all_of(store: Store) -> list[object]:
    """Everything that can be read of a store."""
    lease = store.take_lease("controller.9", 9)
    job = store.load_job(2**52, JOB)
    history = list(store.history())
    names, documents = store.named_versions(), list(store.documents("strategy", 9))
    configurations = store.configurations(None, 9)
    others = [list(store.ledger(JOB)), store.list_jobs(2**52), store.latest()]
    return [lease, job, history, names, documents, configurations, *others]


@pytest.fixture(params=[*OPERATIONS])
def operation(request: pytest.FixtureRequest) -> Operation:
    """Each operation that writes."""
    return OPERATIONS[request.param]


@pytest.fixture
def expected(operation: Operation, tmp_path: Path) -> Iterator[tuple[object, list[object]]]:
    """What an operation answers, and leaves, without a fault: in an embedded store."""
    store = SqliteStore(
        tmp_path / "sqlite", keep=3, durable=False, now=lambda: AT, secret=lambda: b"secret"
    )
    operation.before(store)
    answer = operation.call(store)
    operation.after(store)
    yield answer, all_of(store)
    store.close()


def test_a_store_that_is_killed_after_any_write_goes_on(
    operation: Operation,
    expected: tuple[object, list[object]],
    mongo_url: str,
    tmp_path: Path,
) -> None:
    """The request comes again, is answered as if nothing was, and leaves the same records."""
    for after in count():
        url, folder = f"{mongo_url}_{after}", tmp_path / str(after)
        fault = WriteFault(KilledError)
        store = open_store(url, folder, on_step=fault)
        operation.before(store)
        known = len(list(store.history())), len(store.ledger(JOB))
        fault.step, fault.left = "recorded", after
        try:
            operation.call(store)
        except KilledError:
            kill(store)
        else:
            store.close()
            break
        again = open_store(url, folder)
        assert len(list(again.history())) >= known[0]
        assert len(again.ledger(JOB)) >= known[1]
        check_records(again)
        answer = operation.call(again)
        operation.after(again)
        assert (answer, all_of(again)) == expected
        check_records(again)
        again.close()
    assert after > 0


def test_a_reader_finds_the_entry_of_a_plan_that_a_killed_repository_has_not_copied(
    mongo_url: str, tmp_path: Path
) -> None:
    """So does a backup; it is read beside the repository and after it, and nothing is written."""
    operation, fault = OPERATIONS["plan with its entry"], WriteFault(KilledError)
    store = open_store(mongo_url, tmp_path, on_step=fault)
    operation.before(store)
    beside = MongoHistory(MongoSettings(mongo_url))
    assert beside.ledger(JOB) == beside.ledger("another") == []
    fault.step = "recorded"
    with pytest.raises(KilledError):
        operation.call(store)
    kill(store)
    [owed] = beside.ledger(JOB)
    assert [owed] == beside.ledger(JOB)
    assert check_records(beside).versions == len(beside.history()) == 1
    assert beside.open_blob("0" * 64) is None
    again = open_store(mongo_url, tmp_path)
    assert again.job_ledger(JOB).entries == 1
    again.close()
    assert beside.ledger(JOB) == [owed]
    beside.close()


def test_an_empty_database_has_no_history(mongo_url: str) -> None:
    """A test that looks in the wrong place must not pass."""
    with pytest.raises(StoreError, match="no store in the database test_"):
        MongoHistory(MongoSettings(mongo_url))


@pytest.mark.parametrize(("step", "after"), [("record", 6), ("recorded", 16)])
def test_a_process_that_is_killed_is_succeeded(
    calls: ForkedCalls, mongo_url: str, tmp_path: Path, step: str, after: int
) -> None:
    """With -9, in a round: what it said to be committed is there, and the next one goes on."""
    store = open_store(mongo_url, tmp_path)
    begin(store)
    store.close()
    module, function = "tests.repository.stores.mongo_faults", "die_while_committing"
    killed = calls.run(module, function, mongo_url, str(tmp_path), step, after)
    assert killed.code == -9, killed.stderr
    said = [int(line) for line in killed.stdout.split()]
    again = open_store(mongo_url, tmp_path)
    found = check_records(again)
    assert found.versions - 1 in {len(said), len(said) + 1}
    assert said == [*range(2, len(said) + 2)]
    commit_state(again, 1000.0)
    assert check_records(again).versions == found.versions + 1
    again.close()
