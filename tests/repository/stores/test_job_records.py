"""Job files, results and configurations in a store."""

import json
import sqlite3
from pathlib import Path

from fedbus.jobs import configuration_id, configuration_of
from fedbus.wire.energy import EnergyUsed
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.records import (
    ConfigurationEntry,
    JobFacts,
    StoredConfiguration,
    StoredJob,
    StoreRefusal,
)
from fedbus_repository.stores.sqlite.store import SqliteStore
from tests.repository.conftest import Open
from tests.repository.harness import (
    AT,
    JOB,
    MODEL,
    PRIVATE,
    begin,
    commit_next,
    commit_private,
    plan_of,
    push,
)
from tests.repository.stores.test_upgrades import make_older


def file(job: str | None = None, rounds: object = 5, model: str = MODEL, **more: object) -> bytes:
    """Write a job file."""
    named = {} if job is None else {"training_id": job}
    return json.dumps({**named, "model_name": model, "num_rounds": rounds, **more}).encode()


def store_job(store: Store, job: str, content: bytes, model: str = MODEL) -> StoredJob:
    """Store a job of a model that exists, after the end of the one before."""
    for each in store.list_jobs(2**52):  # type: ignore[union-attr]  # the lease is not lost
        store.end_job(2**52, str(each), "finished", "done")
    found = store.store_job(2**52, job, model, content)
    assert isinstance(found, StoredJob)
    return found


def facts(store: Store, job: str = JOB) -> JobFacts:
    """Read what the result of a job is made of."""
    found = store.job_facts(job)
    assert isinstance(found, JobFacts)
    return found


def listed(store: Store, model: str | None = MODEL, **page: int) -> list[tuple[int, str]]:
    """Read the numbers and ids of configurations."""
    found = store.configurations(model, page.get("limit", 9), page.get("before"))
    assert isinstance(found, tuple)
    return [(each.number, each.configuration) for each in found]


def test_jobs_of_one_meaning_have_one_configuration(reopen: Open) -> None:
    """It is stored once, whatever the notation; it is there after a restart."""
    store = reopen()
    push(store)
    for job, content in (
        ("a", file("a")),
        ("b", file("b", "5")),
        ("c", file("c", 6)),
        ("d", file(None)),
    ):
        store_job(store, job, content)
    five, six = (configuration_id(configuration_of(file(None, n))) for n in (5, 6))
    assert [facts(store, job).configuration for job in "abcd"] == [five, five, six, five]
    assert listed(reopen()) == [(2, six), (1, five)]
    found = reopen().configuration(five)
    assert found == StoredConfiguration(
        configuration=five, model=MODEL, number=1, file=configuration_of(file())
    )
    assert isinstance(found, StoredConfiguration)
    assert found.at == AT


def test_a_configuration_is_stored_without_a_job(store: Store) -> None:
    """A job that has it later finds it."""
    push(store)
    first = store.store_configuration(file("a"))
    again = store.store_configuration(file("b", "5.0"))
    assert isinstance(first, ConfigurationEntry)
    assert isinstance(again, ConfigurationEntry)
    assert (first.known, again.known, again.stored) == (False, True, first.stored)
    store_job(store, JOB, file())
    assert listed(store) == [(1, first.stored.configuration)]
    assert facts(store).configuration == first.stored.configuration


def test_what_is_no_job_file_or_has_no_model_is_refused(store: Store) -> None:
    """With all its faults; what is stored can be submitted."""
    push(store)
    for content, sentence in (
        (b"{", "the configuration is not valid"),
        (file(rounds=0), "num_rounds"),
        (file(model="faces"), "no model named 'faces'; known: digits"),
    ):
        refused = store.store_configuration(content)
        assert isinstance(refused, StoreRefusal)
        assert sentence in refused.reason
    assert listed(store) == []
    unknown = store.configuration("nope")
    assert isinstance(unknown, StoreRefusal)
    assert "no configuration 'nope'" in unknown.reason


def test_a_job_that_is_refused_leaves_no_configuration(store: Store) -> None:
    """Another job trains the model; and the same job again adds nothing."""
    push(store)
    store_job(store, "a", file("a"))
    assert isinstance(store.store_job(2**52, "b", MODEL, file("b", 9)), StoreRefusal)
    assert isinstance(store.store_job(2**52, "a", MODEL, file("a", "5")), StoredJob)
    assert len(listed(store)) == 1


def test_configurations_are_listed_by_model_and_in_pages(store: Store) -> None:
    """The newest first; a model that is not there is named."""
    push(store)
    push(store, model="faces")
    for rounds in (1, 2, 3):
        store.store_configuration(file(rounds=rounds))
    store.store_configuration(file(model="faces"))
    assert [number for number, _ in listed(store)] == [3, 2, 1]
    assert [number for number, _ in listed(store, limit=2)] == [3, 2]
    assert [number for number, _ in listed(store, before=3)] == [2, 1]
    assert [number for number, _ in listed(store, "faces", before=9)] == [4]
    assert [number for number, _ in listed(store, None)] == [4, 3, 2, 1]
    assert [number for number, _ in listed(store, None, before=2)] == [1]
    assert isinstance(store.configurations("shapes", 9), StoreRefusal)


def test_a_result_is_made_of_the_jobs_records(store: Store) -> None:
    """While it runs, and after its end."""
    begin(store)
    before = facts(store)
    assert (before.last, before.energy, before.spent, before.job.ended) == (None, None, None, None)
    used = EnergyUsed(joules={"training": 2.0}, grams=1.0)
    first = commit_next(store, 1.0, energy=used).version
    second = commit_next(store, 2.0, energy=used).version
    store.end_job(0, JOB, "finished", "done")
    after = facts(store)
    assert after.last == second
    assert after.job.rounds == 2
    assert after.energy == EnergyUsed(joules={"training": 4.0}, grams=2.0)
    assert after.job.ended is not None
    assert store.rounds_of(JOB, 9) == (second, first)
    assert store.rounds_of(JOB, 1) == (second,)
    assert store.rounds_of(JOB, 9, 2) == (first,)
    assert store.rounds_of("nope", 9) == ()
    assert store.job_facts("nope") == StoreRefusal("no job named 'nope' in this repository")


def test_a_result_has_what_the_job_has_spent(store: Store) -> None:
    """As its ledger says, of the failed rounds as well."""
    begin(store, strategy=PRIVATE)
    assert facts(store).spent is None
    commit_private(store, 1.0)
    spent = facts(store).spent
    assert spent is not None
    assert spent.entries == 1


def test_results_of_a_model_are_listed_in_pages(store: Store) -> None:
    """The newest job first."""
    push(store)
    push(store, model="faces")
    for job in ("a", "b", "c"):
        store_job(store, job, file(job))
    store_job(store, "other", file(model="faces"), "faces")

    def names(limit: int, before: str | None = None) -> list[str]:
        found = store.jobs_of_model(MODEL, limit, before)
        assert isinstance(found, tuple)
        return [each.job.job for each in found]

    assert names(9) == ["c", "b", "a"]
    assert names(2) == ["c", "b"]
    assert names(9, "b") == ["a"]
    for model, before in (("shapes", None), (MODEL, "nope"), (MODEL, "other")):
        assert isinstance(store.jobs_of_model(model, 9, before), StoreRefusal)


def test_a_forgotten_job_keeps_its_file_and_its_result(store: Store) -> None:
    """Only the list of jobs is shorter."""
    push(store)
    store_job(store, "a", file("a"))
    store.end_job(2**52, "a", "cancelled", "")
    store.forget_job(2**52, "a")
    assert facts(store, "a").job.file == file("a")


def test_an_older_store_gets_the_configurations_of_its_jobs(tmp_path: Path) -> None:
    """In the order of the jobs; a file that is no JSON has none."""
    store = SqliteStore(tmp_path, durable=False)
    push(store)
    for job, content in (("a", file("a")), ("b", file("b", 6)), ("c", file("c", "5"))):
        store_job(store, job, content)
    wanted = listed(store)
    plan = plan_of(facts(store, "c").job)
    store.close()
    db = sqlite3.connect(tmp_path / "repository.db", isolation_level=None)
    db.execute("UPDATE jobs SET file = ? WHERE job = 'b'", (b"what an old version took",))
    db.close()
    make_older(tmp_path, 6)
    again = SqliteStore(tmp_path, durable=False)
    assert listed(again) == [(1, wanted[-1][1])]
    assert facts(again, "b").configuration is None
    assert again.store_plan(2**52, plan) == plan
    again.close()
