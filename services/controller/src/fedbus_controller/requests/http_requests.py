"""Requests over this process's own HTTP API: submissions, cancellations, questions. Pure.

A submission or cancellation takes the way of one from the bus, with a reply address that no client
can name; the reply is delivered instead of sent. Questions about stored jobs and configurations are
passed on to the repository, which answers them as it answers users.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias, assert_never

from fedbus.core.actions import Action, Ask, Cancel, Deliver, Reply
from fedbus.core.events import ReplyTo, Requested
from fedbus.jobs import configuration_id, configuration_of
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
from fedbus.wire.refusals import refuses
from fedbus.wire.topics import CANCEL, SUBMIT
from fedbus_controller.keys import RepositoryQuestion

HTTP_REPLIES: Final = "\0http"
"""The reply topic of requests over HTTP: no topic of MQTT has this character."""

Deliverer: TypeAlias = Callable[[object], None]
Question: TypeAlias = (
    ShowJobFile
    | ShowJobResult
    | ListJobResults
    | StoreConfiguration
    | ShowConfiguration
    | ListConfigurations
)
Answer: TypeAlias = (
    JobFileShown
    | JobResultShown
    | JobResultsListed
    | ConfigurationStored
    | ConfigurationShown
    | ConfigurationsListed
    | RequestRefused
)


@dataclass(frozen=True, slots=True)
class SubmitOverHttp:
    """A job file; equal ones with the same `request` are one submission."""

    file: bytes
    request: bytes
    deliver: Deliverer


@dataclass(frozen=True, slots=True)
class CancelOverHttp:
    """A job to cancel."""

    job: str
    request: bytes
    deliver: Deliverer


@dataclass(frozen=True, slots=True)
class AskRepository:
    """A question that the repository answers."""

    question: Question
    deliver: Deliverer


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The client of a request waits no longer for what would be delivered."""

    deliver: Deliverer


@dataclass(frozen=True, slots=True)
class _OpenQuestion:
    """A question, and all who wait for its answer."""

    question: Question
    waiting: list[Deliverer]


class HttpRequests:
    """The requests over HTTP that wait for a reply or an answer."""

    def __init__(self, repository: str) -> None:
        self._repository = repository
        self._replies: dict[bytes, list[Deliverer]] = {}
        self._questions: dict[RepositoryQuestion, _OpenQuestion] = {}

    def as_requested(self, message: SubmitOverHttp | CancelOverHttp) -> Requested:
        """Return a request as it would have come from the bus; its reply is then waited for."""
        self._replies.setdefault(message.request, []).append(message.deliver)
        reply = ReplyTo(HTTP_REPLIES, message.request, "application/json")
        if isinstance(message, SubmitOverHttp):
            return Requested(SUBMIT, {}, message.file, "application/json", reply)
        return Requested(CANCEL, {}, message.job.encode(), None, reply)

    def delivered(self, reply: Reply) -> Iterator[Action]:
        """Deliver a reply to all that wait for it."""
        for deliver in self._replies.pop(reply.to.correlation or b"", ()):
            yield Deliver(deliver, reply.payload)

    def ask(self, message: AskRepository) -> Iterator[Action]:
        """Ask the repository, unless the same question is open.

        An answer does not state the size of its page, so all questions of a kind must ask for one.
        """
        key = _key_of_question(message.question)
        if key in self._questions:
            self._questions[key].waiting.append(message.deliver)
        else:
            self._questions[key] = _OpenQuestion(message.question, [message.deliver])
            yield Ask(key, self._repository, message.question)

    def answered(self, answer: Answer) -> Iterator[Action]:
        """Deliver an answer to all that asked; a late or repeated one is ignored."""
        if isinstance(answer, RequestRefused):
            open_questions = self._questions.items()
            keys = [key for key, each in open_questions if refuses(answer, each.question)]
        else:
            keys = [key for key in (_key_of_answer(answer),) if key in self._questions]
        for key in keys:
            yield Cancel(key)
            for deliver in self._questions.pop(key).waiting:
                yield Deliver(deliver, answer)

    def give_up(self, deliver: Deliverer) -> Iterator[Action]:
        """Forget who waits no longer; a question that no client waits for is not asked again."""
        for request, waiting in [*self._replies.items()]:
            waiting[:] = [each for each in waiting if each is not deliver]
            if not waiting:
                del self._replies[request]
        for key, question in [*self._questions.items()]:
            question.waiting[:] = [each for each in question.waiting if each is not deliver]
            if not question.waiting:
                del self._questions[key]
                yield Cancel(key)


def _key_of_question(question: Question) -> RepositoryQuestion:
    match question:
        case ShowJobFile(job=job):
            return RepositoryQuestion("file", (job,))
        case ShowJobResult(job=job, before=before):
            return RepositoryQuestion("result", (job, before))
        case ListJobResults(model=model, before=job_before):
            return RepositoryQuestion("results", (model, job_before))
        case StoreConfiguration(file=file):
            name = configuration_id(configuration_of(file))
            return RepositoryQuestion("storage", (name,))
        case ShowConfiguration(configuration=name):
            return RepositoryQuestion("configuration", (name,))
        case ListConfigurations(model=listed, before=before):
            return RepositoryQuestion("configurations", (listed, before))
        case _:
            assert_never(question)


def _key_of_answer(
    answer: JobFileShown
    | JobResultShown
    | JobResultsListed
    | ConfigurationStored
    | ConfigurationShown
    | ConfigurationsListed,
) -> RepositoryQuestion:
    match answer:
        case JobFileShown(job=job):
            return RepositoryQuestion("file", (job,))
        case JobResultShown(result=result, before=before):
            return RepositoryQuestion("result", (result.job, before))
        case JobResultsListed(model=model, before=job_before):
            return RepositoryQuestion("results", (model, job_before))
        case ConfigurationStored(configuration=stored):
            return RepositoryQuestion("storage", (stored.configuration,))
        case ConfigurationShown(configuration=shown):
            return RepositoryQuestion("configuration", (shown.configuration,))
        case ConfigurationsListed(model=listed, before=before):
            return RepositoryQuestion("configurations", (listed, before))
        case _:
            assert_never(answer)
