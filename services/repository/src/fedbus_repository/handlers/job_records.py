"""Requests of users about stored jobs: files, results and configurations. Pure.

What a job with a privacy mechanism hides is left out here, as in the documents of its rounds.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias, TypeVar

from fedbus.core.actions import Action, Send
from fedbus.digest import digest_of
from fedbus.errors import StoreError
from fedbus.training.options import without_training_metrics
from fedbus.wire import codec
from fedbus.wire.messages import (
    Configuration,
    ConfigurationShown,
    ConfigurationsListed,
    ConfigurationStored,
    JobFileShown,
    JobResult,
    JobResultShown,
    JobResultsListed,
    ListConfigurations,
    ListJobResults,
    RoundOutcome,
    ShowConfiguration,
    ShowJobFile,
    ShowJobResult,
    StoreConfiguration,
)
from fedbus.wire.privacy import public_spent
from fedbus.wire.refusals import refusal_of_request
from fedbus.wire.strategies import hides_agents
from fedbus_repository.handlers.ledgers import MAX_ANSWER_BYTES
from fedbus_repository.keys import RequestRun
from fedbus_repository.requests import Call, RequestRunner, RequestSteps
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.records import (
    ConfigurationEntry,
    JobFacts,
    StoredConfiguration,
    StoreRefusal,
    Version,
)

JobRecordRequest: TypeAlias = (
    ShowJobFile
    | ShowJobResult
    | ListJobResults
    | StoreConfiguration
    | ShowConfiguration
    | ListConfigurations
)
P = TypeVar("P", JobResultShown, JobResultsListed, ConfigurationsListed)


class JobRecordHandler:
    """Answers from the store."""

    def __init__(self, store: Store, requests: RequestRunner) -> None:
        self._store, self._requests = store, requests

    def handle(self, sender: str, message: JobRecordRequest) -> Iterator[Action]:
        """Start a request and answer it from the store."""
        about, subject = _subject(message)
        key = RequestRun.of(message, sender, *subject)
        yield from self._requests.start(key, message, self._answer(sender, about, message))

    def _answer(self, sender: str, about: str, message: JobRecordRequest) -> RequestSteps:
        try:
            answer = yield Call(partial(job_record_answer, self._store, message))
        except StoreError as error:
            answer = StoreRefusal(str(error), kind=error.fault)
        if isinstance(answer, StoreRefusal):
            answer = refusal_of_request(message, about, answer.reason, answer.kind)
        return (Send(sender, answer),)


def job_record_answer(store: Store, message: JobRecordRequest) -> object:
    """Return the answer to a request, or a StoreRefusal; called in a thread."""
    match message:
        case ShowJobFile(job=job):
            return _either(store.job_facts(job), job_file)
        case ShowJobResult():
            return _either(store.job_facts(message.job), partial(_with_rounds, store, message))
        case ListJobResults(model=model, limit=limit, before=before):
            found = store.jobs_of_model(model, limit + 1, before)
            return _either(found, partial(_results_page, message))
        case StoreConfiguration(file=file):
            return _either(store.store_configuration(file), _configuration_stored)
        case ShowConfiguration(configuration=name):
            return _either(store.configuration(name), _configuration_shown)
    listed = store.configurations(message.model, message.limit + 1, message.before)
    return _either(listed, partial(_configurations_page, message))


def job_file(facts: JobFacts) -> JobFileShown:
    """Return a job's file as users read it."""
    job = facts.job
    return JobFileShown(
        job=job.job,
        model=job.model,
        file=job.file,
        configuration=facts.configuration,
        submitted=job.submitted,
    )


def job_result(facts: JobFacts) -> JobResult:
    """Return a job's result as users read it."""
    job, last = facts.job, facts.last
    strategy = job.strategy if last is None else last.strategy
    hidden = _hidden(facts)
    metrics = {} if last is None else last.metrics
    return JobResult(
        job=job.job,
        model=job.model,
        configuration=facts.configuration,
        phase="running" if job.ended is None else job.ended.phase,
        reason="" if job.ended is None else job.ended.reason,
        rounds=job.rounds,
        version=None if last is None else last.version,
        metrics=without_training_metrics(metrics) if hidden else metrics,
        contributors=0 if hidden or last is None else last.contributors,
        strategy=strategy,
        privacy=public_spent(facts.spent),
        energy=None if hidden else facts.energy,
        submitted=job.submitted,
        ended=None if job.ended is None else job.ended.at,
    )


def round_result(version: Version, *, hidden: bool) -> RoundOutcome:
    """Return a round as users read it; `hidden`: its job has a privacy mechanism."""
    hidden = hidden or hides_agents(version.strategy) or version.privacy is not None
    return RoundOutcome(
        round=version.round,
        version=version.version,
        metrics=without_training_metrics(version.metrics) if hidden else version.metrics,
        contributors=0 if hidden else version.contributors,
        at=version.at,
    )


def configuration_facts(stored: StoredConfiguration) -> Configuration:
    """Return a configuration as it is listed."""
    return Configuration(
        configuration=stored.configuration,
        model=stored.model,
        number=stored.number,
        at=stored.at,
    )


def _hidden(facts: JobFacts) -> bool:
    strategies = (facts.job.strategy, None if facts.last is None else facts.last.strategy)
    return facts.spent is not None or any(map(hides_agents, strategies))


def _either(found: Any, made: Callable[[Any], object]) -> object:  # noqa: ANN401 - an answer of the store
    return found if isinstance(found, StoreRefusal) else made(found)


def _with_rounds(store: Store, message: ShowJobResult, facts: JobFacts) -> JobResultShown:
    found = store.rounds_of(message.job, message.limit + 1, message.before)
    hidden = _hidden(facts)
    rounds = tuple(round_result(each, hidden=hidden) for each in found[: message.limit])
    shown = JobResultShown(
        result=job_result(facts),
        before=message.before,
        rounds=rounds,
        more=len(found) > message.limit,
    )
    return _fitting(shown, "rounds")


def _results_page(message: ListJobResults, found: tuple[JobFacts, ...]) -> JobResultsListed:
    listed = JobResultsListed(
        model=message.model,
        before=message.before,
        results=tuple(map(job_result, found[: message.limit])),
        more=len(found) > message.limit,
    )
    return _fitting(listed, "results")


def _configurations_page(
    message: ListConfigurations, found: tuple[StoredConfiguration, ...]
) -> ConfigurationsListed:
    listed = ConfigurationsListed(
        model=message.model,
        before=message.before,
        configurations=tuple(map(configuration_facts, found[: message.limit])),
        more=len(found) > message.limit,
    )
    return _fitting(listed, "configurations")


def _configuration_stored(entry: ConfigurationEntry) -> ConfigurationStored:
    return ConfigurationStored(configuration=configuration_facts(entry.stored), known=entry.known)


def _configuration_shown(stored: StoredConfiguration) -> ConfigurationShown:
    return ConfigurationShown(configuration=configuration_facts(stored), file=stored.file)


def _fitting(page: P, items: str) -> P:
    """Halve a page until it fits a message; the rest can be asked for."""
    while len(getattr(page, items)) > 1 and len(codec.pack(page)) > MAX_ANSWER_BYTES:
        half = len(getattr(page, items)) // 2
        page = replace(page, **{items: getattr(page, items)[:half], "more": True})
    return page


def _subject(message: JobRecordRequest) -> tuple[str, tuple[str | int | None, ...]]:
    """Return what a refusal names, and what distinguishes the request from others of its kind."""
    match message:
        case ShowJobFile(job=job):
            return job, (job,)
        case ShowJobResult(job=job, limit=limit, before=before):
            return job, (job, limit, before)
        case ListJobResults(model=model, limit=limit, before=before):
            return model, (model, limit, before)
        case StoreConfiguration(file=file):
            return "configuration", (digest_of(file),)
        case ShowConfiguration(configuration=name):
            return name, (name,)
    return message.model or "configurations", (message.model, message.limit, message.before)
