"""Requests over HTTP: the way of a submission, the lease, and questions to the repository."""

import json
from typing import Any

import pytest

from fedbus.core.actions import Deliver, Reply
from fedbus.core.events import Local
from fedbus.jobs import configuration_id, configuration_of
from fedbus.wire.messages import (
    Configuration,
    ConfigurationShown,
    ConfigurationsListed,
    ConfigurationStored,
    JobEnded,
    JobFileShown,
    JobResult,
    JobResultShown,
    JobResultsListed,
    ListConfigurations,
    ListJobResults,
    ShowConfiguration,
    ShowJobFile,
    ShowJobResult,
    StoreConfiguration,
    StoreJob,
)
from fedbus.wire.refusals import refusal_of_request
from fedbus_controller import keys
from fedbus_controller.requests.http_requests import (
    AskRepository,
    CancelOverHttp,
    GiveUp,
    Question,
    SubmitOverHttp,
)
from tests.controller.harness import JOB, REPOSITORY, Harness, accepted, job_file, loaded


class Client:
    """Who waits for a reply."""

    def __init__(self) -> None:
        self.answers: list[Any] = []

    def deliver(self, answer: object) -> None:
        self.answers.append(answer)


class HttpHarness(Harness):
    """A controller whose HTTP clients get what the core delivers."""

    def http(self, message: object) -> None:
        self.handle(Local(message))
        self.deliver()

    def reply(self, message: object) -> None:
        self.receive(REPOSITORY, message)
        self.deliver()

    def deliver(self) -> None:
        for action in self.last:
            assert not isinstance(action, Reply)
            if isinstance(action, Deliver):
                action.to(action.result)


def test_a_submission_is_stored_and_answered() -> None:
    """With the reply that a client on the bus would get; repeated meanwhile, it is one."""
    harness, client, again = HttpHarness(), Client(), Client()
    harness.lead()
    harness.http(SubmitOverHttp(job_file(), b"k", client.deliver))
    assert harness.asked(keys.JobStorage(JOB), StoreJob).file == job_file()
    harness.http(SubmitOverHttp(job_file(), b"k", again.deliver))
    assert client.answers == again.answers == []
    harness.reply(accepted())
    for each in (client, again):
        (reply,) = map(json.loads, each.answers)
        assert (reply["accepted"], reply["job"]) == (True, JOB)


def test_a_file_that_is_refused_gets_its_faults() -> None:
    """At once, with no question to the repository."""
    harness, client = HttpHarness(), Client()
    harness.lead()
    harness.http(SubmitOverHttp(job_file(strategy="nope"), b"k", client.deliver))
    (reply,) = map(json.loads, client.answers)
    assert reply["accepted"] is False
    assert [fault["key"] for fault in reply["faults"]] == ["strategy"]


@pytest.mark.parametrize("after", [None, "lost"])
def test_without_the_lease_nothing_is_decided(after: str | None) -> None:
    """The client asks the controller that leads."""
    harness, client = HttpHarness(), Client()
    if after is not None:
        harness.lead()
        harness.now += 1000
    harness.http(SubmitOverHttp(job_file(), b"k", client.deliver))
    harness.http(CancelOverHttp(JOB, b"l", client.deliver))
    assert client.answers == [None, None]
    assert not harness.core.leads  # type: ignore[attr-defined]  # of the controller


def test_a_job_is_cancelled() -> None:
    """The answer comes when the repository has stored the end."""
    harness, client = HttpHarness(), Client()
    harness.lead(jobs=(JOB,))
    harness.reply(loaded())
    harness.http(CancelOverHttp(JOB, b"k", client.deliver))
    assert client.answers == []
    harness.reply(JobEnded(job=JOB, phase="cancelled", reason="cancelled by a user"))
    assert [json.loads(each) for each in client.answers] == [{"job": JOB, "cancelled": True}]
    harness.http(CancelOverHttp("other", b"l", client.deliver))
    assert json.loads(client.answers[-1])["cancelled"] is False


STORED = Configuration(
    configuration=configuration_id(configuration_of(job_file())), model="digits", number=1
)
RESULT = JobResult(job=JOB, model="digits", configuration=None, phase="finished")
PAIRS: list[tuple[Question, object]] = [
    (
        ShowJobFile(job=JOB),
        JobFileShown(job=JOB, model="digits", file=b"{}", configuration=None),
    ),
    (ShowJobResult(job=JOB), JobResultShown(result=RESULT, before=None, rounds=())),
    (
        ListJobResults(model="digits", before="b"),
        JobResultsListed(model="digits", before="b", results=()),
    ),
    (StoreConfiguration(file=job_file()), ConfigurationStored(configuration=STORED)),
    (
        ShowConfiguration(configuration=STORED.configuration),
        ConfigurationShown(configuration=STORED, file=b"{}"),
    ),
    (ListConfigurations(), ConfigurationsListed(model=None, before=None, configurations=())),
    (
        ListConfigurations(model="digits", before=3),
        ConfigurationsListed(model="digits", before=3, configurations=()),
    ),
]


@pytest.mark.parametrize(("question", "answer"), PAIRS)
def test_a_question_is_asked_once_and_answered_to_all(question: Question, answer: object) -> None:
    """Also without the lease; a repeated answer is ignored, a refusal is an answer."""
    harness, one, two = HttpHarness(), Client(), Client()
    harness.http(AskRepository(question, one.deliver))
    asked = len(harness.asks)
    harness.http(AskRepository(question, two.deliver))
    assert len(harness.asks) == asked
    for other, _ in PAIRS:
        assert other == question or harness.last == []
    harness.reply(answer)
    assert one.answers == two.answers == [answer]
    assert not [key for key in harness.asks if isinstance(key, keys.RepositoryQuestion)]
    harness.reply(answer)
    assert len(one.answers) == 1
    harness.http(AskRepository(question, one.deliver))
    for other, _ in PAIRS:
        if other != question:
            harness.reply(refusal_of_request(other, "digits", "unknown"))
    assert len(one.answers) == 1
    refused = refusal_of_request(question, "digits", "unknown")
    harness.reply(refused)
    assert one.answers == [answer, refused]


def test_an_answer_to_another_question_is_not_delivered() -> None:
    """Each answer says what it is about."""
    for question, _ in PAIRS:
        harness, client = HttpHarness(), Client()
        harness.http(AskRepository(question, client.deliver))
        for other, answer in PAIRS:
            if other != question:
                harness.reply(answer)
        assert client.answers == []


def test_two_configurations_are_stored_at_a_time_and_one_is_refused() -> None:
    """Its refusal says which."""
    harness, one, two = HttpHarness(), Client(), Client()
    harness.http(AskRepository(StoreConfiguration(file=job_file()), one.deliver))
    other = StoreConfiguration(file=job_file(num_rounds=9))
    harness.http(AskRepository(other, two.deliver))
    refused = refusal_of_request(other, "configuration", "its model is not stored")
    harness.reply(refused)
    assert (one.answers, two.answers) == ([], [refused])


def test_a_question_that_no_client_waits_for_is_not_asked_again() -> None:
    """Nor is a reply kept for one that has gone."""
    harness, one, two = HttpHarness(), Client(), Client()
    harness.lead()
    question = ShowJobFile(job=JOB)
    for client in (one, two):
        harness.http(AskRepository(question, client.deliver))
    asked = [key for key in harness.asks if isinstance(key, keys.RepositoryQuestion)]
    one_deliver, two_deliver = harness.core._http._questions[asked[0]].waiting  # type: ignore[attr-defined]  # noqa: SLF001
    harness.http(GiveUp(one_deliver))
    assert asked[0] in harness.asks
    harness.http(GiveUp(two_deliver))
    assert asked[0] not in harness.asks
    deliver = one.deliver
    harness.http(SubmitOverHttp(job_file(), b"k", deliver))
    harness.http(GiveUp(deliver))
    harness.reply(accepted())
    assert one.answers == []


def test_a_question_is_kept_when_the_lease_is_lost() -> None:
    """It needs no lease."""
    harness, client = HttpHarness(), Client()
    harness.lead()
    harness.http(AskRepository(ShowJobFile(job=JOB), client.deliver))
    harness.now += 1000
    harness.http(CancelOverHttp(JOB, b"k", client.deliver))
    assert [key for key in harness.asks if isinstance(key, keys.RepositoryQuestion)]
