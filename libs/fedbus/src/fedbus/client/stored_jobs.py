"""Records of jobs at the repository: files, results and configurations."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

from fedbus.client.connection import ClientConnection
from fedbus.client.job_reports import JobOutcome
from fedbus.client.repository import RepositoryQuery
from fedbus.client.session_node import run
from fedbus.client.stored_models import repository_node
from fedbus.jobs import JobFileError, configuration_id, configuration_of
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
from fedbus.wire.messages.model_trail import MAX_PAGE_VERSIONS

RECORDS = 100
"""Results, or configurations, that are fetched unless a caller says how many."""

A = TypeVar("A")
Page: TypeAlias = Callable[[int, A | None], Awaitable[tuple[tuple[A, ...], bool]]]
"""Fetches a page of this size after an item, and tells whether more items follow."""


async def job_file(connection: ClientConnection, job: str) -> JobFileShown:
    """Fetch the file of a job.

    Raises:
        Refused: there is no such job.
        Unreachable: the repository does not answer.
    """
    question = ShowJobFile(job=job)
    return await _ask(connection, question, JobFileShown, lambda answer: answer.job == job)


async def job_result(
    connection: ClientConnection, job: str, limit: int | None = None
) -> JobOutcome:
    """Fetch the result of a job, and its last `limit` rounds; None is all of them.

    Raises:
        Refused: there is no such job.
        Unreachable: the repository does not answer.
    """
    results: list[JobResult] = []

    async def page(size: int, last: RoundOutcome | None) -> tuple[tuple[RoundOutcome, ...], bool]:
        before = None if last is None else last.round
        question = ShowJobResult(job=job, limit=size, before=before)

        def fits(answer: JobResultShown) -> bool:
            return (answer.result.job, answer.before) == (job, before)

        shown = await _ask(connection, question, JobResultShown, fits)
        results.append(shown.result)
        return shown.rounds, shown.more

    rounds = await _pages(page, limit)
    return JobOutcome(results[0], rounds)


async def job_results(
    connection: ClientConnection, model: str, limit: int | None = RECORDS
) -> tuple[JobResult, ...]:
    """Fetch the results of the last `limit` jobs of a model, the newest last; None is all.

    Raises:
        Refused: there is no such model.
        Unreachable: the repository does not answer.
    """

    async def page(size: int, last: JobResult | None) -> tuple[tuple[JobResult, ...], bool]:
        before = None if last is None else last.job
        question = ListJobResults(model=model, limit=size, before=before)

        def fits(answer: JobResultsListed) -> bool:
            return (answer.model, answer.before) == (model, before)

        listed = await _ask(connection, question, JobResultsListed, fits)
        return listed.results, listed.more

    return await _pages(page, limit)


async def configurations(
    connection: ClientConnection, model: str | None, limit: int | None = RECORDS
) -> tuple[Configuration, ...]:
    """Fetch the last `limit` configurations of a model, or of all, the newest last.

    Raises:
        Refused: there is no such model.
        Unreachable: the repository does not answer.
    """

    async def page(size: int, last: Configuration | None) -> tuple[tuple[Configuration, ...], bool]:
        before = None if last is None else last.number
        question = ListConfigurations(model=model, limit=size, before=before)

        def fits(answer: ConfigurationsListed) -> bool:
            return (answer.model, answer.before) == (model, before)

        listed = await _ask(connection, question, ConfigurationsListed, fits)
        return listed.configurations, listed.more

    return await _pages(page, limit)


async def configuration(connection: ClientConnection, name: str) -> ConfigurationShown:
    """Fetch a configuration.

    Raises:
        Refused: there is none of this id.
        Unreachable: the repository does not answer.
    """
    return await _ask(
        connection,
        ShowConfiguration(configuration=name),
        ConfigurationShown,
        lambda answer: answer.configuration.configuration == name,
    )


async def store_configuration(connection: ClientConnection, file: bytes) -> ConfigurationStored:
    """Store the configuration of a job file, unless it is known.

    Raises:
        Refused: the file has faults, or its model is not stored.
        Unreachable: the repository does not answer.
    """
    try:
        name = configuration_id(configuration_of(file))
    except JobFileError:
        name = ""  # it is refused

    def fits(answer: ConfigurationStored) -> bool:
        return answer.configuration.configuration == name

    return await _ask(connection, StoreConfiguration(file=file), ConfigurationStored, fits)


async def _pages(page: Page[A], limit: int | None) -> tuple[A, ...]:
    """Fetch pages, the newest first, until there are `limit` items or no more; the newest last."""
    found: list[A] = []
    more = True
    while more and (limit is None or len(found) < limit):
        size = MAX_PAGE_VERSIONS if limit is None else min(MAX_PAGE_VERSIONS, limit - len(found))
        items, more = await page(size, found[-1] if found else None)
        found += items
        more = more and bool(items)
    return tuple(reversed(found))


async def _ask(
    connection: ClientConnection,
    question: object,
    answer: type[A],
    fits: Callable[[A], bool],
) -> A:
    request = RepositoryQuery(repository_node(), question, answer, fits)
    request.patience_seconds = connection.answer_seconds
    return await run(connection, request)
