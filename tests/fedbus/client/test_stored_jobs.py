"""A client's questions about stored jobs, page by page, answered by the code of the repository."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedbus.client import stored_jobs
from fedbus.client.address import BrokerLogin, find_login
from fedbus.client.connection import ClientConnection
from fedbus.client.failures import Refused
from fedbus.client.repository import RepositoryQuery
from fedbus_repository.handlers.job_records import job_record_answer
from fedbus_repository.stores.records import StoreRefusal
from fedbus_repository.stores.sqlite.store import SqliteStore
from tests.repository.harness import JOB, MODEL, begin, commit_next, push
from tests.repository.stores.test_job_records import file, store_job


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqliteStore]:
    """A store that answers in place of the repository, at most two items in a page."""
    store = SqliteStore(tmp_path, durable=False)

    async def run(_: ClientConnection, query: RepositoryQuery[Any]) -> object:
        answer = job_record_answer(store, query._message)  # type: ignore[arg-type]  # noqa: SLF001 - one of these requests
        if isinstance(answer, StoreRefusal):
            raise Refused(answer.reason)
        assert isinstance(answer, query._answer)  # noqa: SLF001 - as the node checks it
        assert query._fits(answer)  # noqa: SLF001
        return answer

    monkeypatch.setattr(stored_jobs, "run", run)
    monkeypatch.setattr(stored_jobs, "MAX_PAGE_VERSIONS", 2)
    yield store
    store.close()


@pytest.fixture
def here() -> ClientConnection:
    """A connection that is not used."""
    login: BrokerLogin = find_login({"FEDBUS_BROKER": "mqtt://user:password@localhost:1"}, None)
    return ClientConnection(login, lambda _: None, 1.0)


async def test_all_rounds_are_fetched_in_pages(store: SqliteStore, here: ClientConnection) -> None:
    """The oldest first; with a limit the last ones."""
    begin(store)
    for value in range(5):
        commit_next(store, float(value))
    report = await stored_jobs.job_result(here, JOB)
    assert [each.round for each in report.rounds] == [1, 2, 3, 4, 5]
    assert (report.result.rounds, report.result.version) == (5, 6)
    assert [each["round"] for each in report.record["results"]["history"]] == [1, 2, 3, 4, 5]
    last = await stored_jobs.job_result(here, JOB, 3)
    assert [each.round for each in last.rounds] == [3, 4, 5]


async def test_a_job_without_rounds_has_a_result(
    store: SqliteStore, here: ClientConnection
) -> None:
    """And no page after the first."""
    begin(store)
    assert (await stored_jobs.job_result(here, JOB)).rounds == ()


async def test_results_and_configurations_are_fetched_in_pages(
    store: SqliteStore, here: ClientConnection
) -> None:
    """The newest last."""
    push(store)
    for number, job in enumerate("abcde", start=1):
        store_job(store, job, file(job, number))
    results = await stored_jobs.job_results(here, MODEL)
    assert [each.job for each in results] == list("abcde")
    assert [each.job for each in await stored_jobs.job_results(here, MODEL, 3)] == list("cde")
    for model in (MODEL, None):
        found = await stored_jobs.configurations(here, model, None)
        assert [each.number for each in found] == [1, 2, 3, 4, 5]
        assert [each.configuration for each in found] == [each.configuration for each in results]
    assert len(await stored_jobs.configurations(here, MODEL, 1)) == 1


async def test_a_file_and_a_configuration_are_fetched(
    store: SqliteStore, here: ClientConnection
) -> None:
    """What was stored is found by the id that was returned."""
    push(store)
    store_job(store, "a", file("a"))
    shown = await stored_jobs.job_file(here, "a")
    stored = await stored_jobs.store_configuration(here, file("b"))
    assert (stored.known, stored.configuration.configuration) == (True, shown.configuration)
    assert shown.configuration is not None
    found = await stored_jobs.configuration(here, shown.configuration)
    assert found.file == b'{"model_name":"digits","num_rounds":5}'
    with pytest.raises(Refused, match="no configuration 'nope'"):
        await stored_jobs.configuration(here, "nope")
