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


class HttpRequests:
    """The requests over HTTP that wait for a reply or an answer."""

    def __init__(self, repository: str) -> None:
        self._repository = repository
        self._replies: dict[bytes, list[Deliverer]] = {}
        self._questions: dict[RepositoryQuestion, list[Deliverer]] = {}

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
        """Ask the repository, unless the same question is open."""
        key = _key_of_question(message.question)
        others = self._questions.get(key)
        if others is not None:
            others.append(message.deliver)
            return
        storing = any(each.kind == key.kind for each in self._questions)
        if storing and isinstance(message.question, StoreConfiguration):
            # A refusal does not say which configuration it is about.
            busy = RequestRefused(
                about=key.about, reason="another one is being stored; try again", kind="unreachable"
            )
            yield Deliver(message.deliver, busy)
            return
        self._questions[key] = [message.deliver]
        yield Ask(key, self._repository, message.question)

    def answered(self, answer: Answer) -> Iterator[Action]:
        """Deliver an answer to all that asked; a late or repeated one is ignored."""
        if isinstance(answer, RequestRefused):
            keys = [key for key in self._questions if key.about == answer.about]
        else:
            keys = [key for key in (_key_of_answer(answer),) if key in self._questions]
        for key in keys:
            yield Cancel(key)
            for deliver in self._questions.pop(key):
                yield Deliver(deliver, answer)

    def give_up(self, deliver: Deliverer) -> Iterator[Action]:
        """Forget who waits no longer; a question that no client waits for is not asked again."""
        for request, waiting in [*self._replies.items()]:
            waiting[:] = [each for each in waiting if each is not deliver]
            if not waiting:
                del self._replies[request]
        for key, asking in [*self._questions.items()]:
            asking[:] = [each for each in asking if each is not deliver]
            if not asking:
                del self._questions[key]
                yield Cancel(key)


def _key_of_question(question: Question) -> RepositoryQuestion:
    match question:
        case ShowJobFile(job=job):
            return RepositoryQuestion("file", job, (job,))
        case ShowJobResult(job=job, before=before):
            return RepositoryQuestion("result", job, (job, before))
        case ListJobResults(model=model, before=job_before):
            return RepositoryQuestion("results", model, (model, job_before))
        case StoreConfiguration(file=file):
            name = configuration_id(configuration_of(file))
            return RepositoryQuestion("storage", "configuration", (name,))
        case ShowConfiguration(configuration=name):
            return RepositoryQuestion("configuration", name, (name,))
        case ListConfigurations(model=listed, before=before):
            about = listed or "configurations"
            return RepositoryQuestion("configurations", about, (listed, before))
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
            return RepositoryQuestion("file", job, (job,))
        case JobResultShown(result=result, before=before):
            return RepositoryQuestion("result", result.job, (result.job, before))
        case JobResultsListed(model=model, before=job_before):
            return RepositoryQuestion("results", model, (model, job_before))
        case ConfigurationStored(configuration=stored):
            return RepositoryQuestion("storage", "configuration", (stored.configuration,))
        case ConfigurationShown(configuration=shown):
            name = shown.configuration
            return RepositoryQuestion("configuration", name, (name,))
        case ConfigurationsListed(model=listed, before=before):
            about = listed or "configurations"
            return RepositoryQuestion("configurations", about, (listed, before))
        case _:
            assert_never(answer)
