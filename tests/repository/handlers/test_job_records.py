"""Users' requests about stored jobs: files, results and configurations."""

from dataclasses import replace
from typing import Any

import pytest

from fedbus.core.events import Received, RunFailed
from fedbus.errors import StoreError
from fedbus.wire import codec
from fedbus.wire.energy import EnergyUsed
from fedbus.wire.messages import (
    ConfigurationShown,
    ConfigurationsListed,
    ConfigurationStored,
    JobFileShown,
    JobResultShown,
    JobResultsListed,
    ListConfigurations,
    ListJobResults,
    RequestRefused,
    ShowConfiguration,
    ShowJobFile,
    ShowJobResult,
    StoreConfiguration,
)
from fedbus.wire.refusals import refusal_of_request, refuses
from fedbus_repository.handlers import job_records
from fedbus_repository.stores.base import Store
from tests.repository.harness import (
    JOB,
    MODEL,
    PRIVATE,
    TERMS,
    USER,
    Harness,
    begin,
    commit_next,
    commit_private,
    push,
)
from tests.repository.stores.test_job_records import file, store_job

REQUESTS = [
    ShowJobFile(job="nope"),
    ShowJobResult(job="nope"),
    ListJobResults(model="nope"),
    StoreConfiguration(file=file(model="nope")),
    ShowConfiguration(configuration="nope"),
    ListConfigurations(model="nope"),
]


def asked(harness: Harness, message: object) -> Any:  # noqa: ANN401 - the answer to it
    """Ask, and return the one answer."""
    (answer,) = harness.receive(USER, message)
    return answer


def test_a_job_file_is_shown_as_it_was_submitted(harness: Harness, store: Store) -> None:
    """Byte for byte, with the id of its configuration, which can be read by it."""
    push(store)
    store_job(store, "a", file("a", "5"))
    shown = asked(harness, ShowJobFile(job="a"))
    assert isinstance(shown, JobFileShown)
    assert (shown.file, shown.model) == (file("a", "5"), MODEL)
    assert shown.configuration is not None
    found = asked(harness, ShowConfiguration(configuration=shown.configuration))
    assert isinstance(found, ConfigurationShown)
    assert found.file == b'{"model_name":"digits","num_rounds":5}'


def test_a_result_is_shown_with_its_rounds(harness: Harness, store: Store) -> None:
    """The newest round first, page by page; what a round used is added up."""
    begin(store)
    energy = EnergyUsed(joules={"training": 2.0}, grams=1.0)
    for value in (1.0, 2.0, 3.0):
        commit_next(store, value, energy=energy)
    running = asked(harness, ShowJobResult(job=JOB, limit=2))
    assert isinstance(running, JobResultShown)
    assert (running.result.phase, running.result.ended, running.more) == ("running", None, True)
    assert [each.round for each in running.rounds] == [3, 2]
    store.end_job(0, JOB, "finished", "done")
    rest = asked(harness, ShowJobResult(job=JOB, before=2))
    assert [(each.round, each.version, each.contributors) for each in rest.rounds] == [(1, 2, 3)]
    result = rest.result
    assert (result.phase, result.reason, result.rounds, result.version) == (
        "finished", "done", 3, 4,
    )  # fmt: skip
    assert (result.metrics, result.contributors) == ({"loss": 1.0}, 3)
    assert result.energy == EnergyUsed(joules={"training": 6.0}, grams=3.0)
    assert result.strategy is not None
    assert not rest.more


def test_a_job_without_a_round_has_an_empty_result(harness: Harness, store: Store) -> None:
    """It may have been cancelled before."""
    begin(store, strategy=PRIVATE)
    result = asked(harness, ShowJobResult(job=JOB)).result
    assert (result.version, result.metrics, result.rounds) == (None, {}, 0)
    assert result.strategy == PRIVATE


def test_a_private_job_shows_no_figure_of_an_agent(harness: Harness, store: Store) -> None:
    """As in the documents of its rounds, and in the history of its model."""
    terms = replace(TERMS, sampling="poisson", population=9, rate=1 / 3)
    begin(store, strategy=replace(PRIVATE, privacy=terms))
    done = commit_private(store, 1.0)
    store.store_evaluation(0, JOB, done.version.round, {"accuracy": 0.5, "train_loss": 2.0})
    shown = asked(harness, ShowJobResult(job=JOB))
    result, (first,) = shown.result, shown.rounds
    assert (result.metrics, first.metrics) == ({"accuracy": 0.5}, {"accuracy": 0.5})
    assert (result.contributors, first.contributors, result.energy) == (0, 0, None)
    assert result.privacy.participations == result.privacy.entries == 1
    (listed,) = asked(harness, ListJobResults(model=MODEL)).results
    assert listed == result


def test_results_of_a_model_are_listed(harness: Harness, store: Store) -> None:
    """Page by page, the newest job first."""
    push(store)
    for job in ("a", "b", "c"):
        store_job(store, job, file(job))
    first = asked(harness, ListJobResults(model=MODEL, limit=2))
    assert isinstance(first, JobResultsListed)
    assert ([each.job for each in first.results], first.more) == (["c", "b"], True)
    last = asked(harness, ListJobResults(model=MODEL, limit=2, before="b"))
    assert ([each.job for each in last.results], last.more) == (["a"], False)


def test_a_configuration_is_stored_and_listed(harness: Harness, store: Store) -> None:
    """A repeated request finds it."""
    push(store)
    for known in (False, True):
        stored = asked(harness, StoreConfiguration(file=file()))
        assert isinstance(stored, ConfigurationStored)
        assert stored.known is known
    asked(harness, StoreConfiguration(file=file(rounds=9)))
    page = asked(harness, ListConfigurations(limit=1))
    assert isinstance(page, ConfigurationsListed)
    assert ([each.number for each in page.configurations], page.more) == ([2], True)
    rest = asked(harness, ListConfigurations(model=MODEL, before=2))
    assert (rest.configurations, rest.more) == ((stored.configuration,), False)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: type(each).__name__)
def test_what_is_not_there_is_refused(harness: Harness, request_: object) -> None:
    """With a sentence that names it."""
    refused = asked(harness, request_)
    assert isinstance(refused, RequestRefused)
    assert "nope" in refused.reason
    assert refused.about in {"nope", "configuration"}
    assert [refuses(refused, each) for each in REQUESTS].count(True) == 1


def test_a_list_of_all_models_without_one_is_empty(harness: Harness) -> None:
    """No model is named, so none is missing."""
    assert asked(harness, ListConfigurations()).configurations == ()


def test_a_store_that_cannot_be_read_is_reported(harness: Harness) -> None:
    """The user is told instead of waiting for an answer."""
    harness.handle(Received(USER, ShowJobFile(job=JOB)))
    run = harness.runs.popleft()
    harness.handle(RunFailed(run.key, StoreError("the disk is broken")))
    (_, refused) = harness.sent[-1]
    assert refused == refusal_of_request(ShowJobFile(job=JOB), JOB, "the disk is broken", "other")


def test_a_page_that_is_too_large_for_a_message_is_halved(
    harness: Harness, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is asked for; one item is sent in any case."""
    begin(store)
    for value in range(5):
        commit_next(store, float(value))
    whole = asked(harness, ShowJobResult(job=JOB))
    monkeypatch.setattr(job_records, "MAX_ANSWER_BYTES", len(codec.pack(whole)) - 1)
    shown = asked(harness, ShowJobResult(job=JOB))
    assert (shown.rounds, shown.more) == (whole.rounds[:2], True)
    monkeypatch.setattr(job_records, "MAX_ANSWER_BYTES", 10)
    assert len(asked(harness, ShowJobResult(job=JOB)).rounds) == 1
