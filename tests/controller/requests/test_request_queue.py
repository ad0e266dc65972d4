"""Requests are not lost: they wait here and at the broker until the repository stored a result."""

import json
from typing import Any

import pytest

from fedbus.core.actions import Clear
from fedbus.core.events import Connected, ReplyTo
from fedbus.wire.documents import JobState, RefusedRequest
from fedbus.wire.messages import (
    EndJob,
    JobEnded,
    JobFault,
    JobFileRefused,
    JobsListed,
    LeaseGranted,
    LeaseHeld,
    StoreJob,
)
from fedbus.wire.topics import JOB_REFUSED
from fedbus_controller import keys
from fedbus_controller.requests.request_queue import MAX_HELD_REQUESTS, RENEWALS_BEFORE_RELEASE
from tests.controller.harness import JOB, REPLY, REPOSITORY, Harness, accepted, job_file, loaded

STORED = accepted()
OTHER = "controller.2"


def refusals(harness: Harness) -> list[RefusedRequest]:
    """Return the refusal that the last event retained."""
    return harness.sent(RefusedRequest)


def state(phase: Any) -> JobState:  # noqa: ANN401 - a phase
    """Build a document of another controller."""
    return JobState(
        job=JOB, model="digits", phase=phase, round=0, num_rounds=2, metrics={}, reason=""
    )


# ── until it is stored ───────────────────────────────────────────────────────────────────────────


def test_a_job_published_without_a_leader_is_stored_when_one_leads() -> None:
    """And only then may the broker forget it."""
    harness = Harness()
    harness.submit(job_file(), receipt=7)
    assert harness.last == []
    harness.receive(REPOSITORY, LeaseGranted(epoch=1, seconds=15.0))
    assert harness.asked(keys.JobStorage(JOB), StoreJob).file == job_file()
    assert harness.settled() == []
    harness.receive(REPOSITORY, STORED)
    assert harness.settled() == [7]
    assert harness.answer()["accepted"]


def test_a_request_delivered_again_on_a_new_connection_is_the_same_request() -> None:
    """It has another receipt there, and is answered once."""
    harness = Harness()
    harness.lead()
    harness.submit(job_file(), receipt=7)
    harness.handle(Connected())
    harness.submit(job_file(), receipt=9)
    assert harness.settled() == []
    harness.receive(REPOSITORY, STORED)
    assert harness.settled() == [9]
    assert harness.answer()["accepted"]


def test_a_request_sent_twice_on_one_connection_is_settled_twice() -> None:
    """Otherwise the second would stay at the broker."""
    harness = Harness()
    harness.submit(job_file(), receipt=7)
    harness.submit(job_file(), receipt=8)
    assert harness.settled() == [8]
    harness.submit(job_file())
    assert harness.settled() == []
    harness.lead()
    harness.receive(REPOSITORY, STORED)
    assert harness.settled() == [7]


def test_a_refused_request_is_settled() -> None:
    """Refused by the controller, or by the repository."""
    harness = Harness()
    harness.lead()
    harness.submit(b"{", receipt=1)
    assert harness.settled() == [1]
    harness.submit(job_file(), receipt=2)
    harness.receive(REPOSITORY, JobFileRefused(job=JOB, faults=(JobFault(key="", problem="no"),)))
    assert harness.settled() == [2]


def test_a_cancel_waits_for_the_leader_and_for_the_end_to_be_stored() -> None:
    """A job of an earlier leader is cancelled as soon as it is loaded."""
    harness = Harness()
    harness.cancel(receipt=3)
    harness.lead(jobs=(JOB,))
    assert harness.settled() == []
    harness.receive(REPOSITORY, loaded())
    end = harness.asked(keys.JobEnding(JOB), EndJob)
    assert end.phase == "cancelled"
    assert harness.settled() == []
    harness.receive(REPOSITORY, JobEnded(job=JOB, phase="cancelled", reason=end.reason))
    assert harness.settled() == [3]
    assert harness.answer() == {"job": JOB, "cancelled": True}


def test_a_cancel_that_came_before_its_job_ends_it_and_not_the_next_one() -> None:
    """They are decided in the order in which they came."""
    harness = Harness()
    harness.cancel(receipt=1)
    harness.submit(job_file(), receipt=2)
    harness.receive(REPOSITORY, LeaseGranted(epoch=1, seconds=15.0))
    harness.receive(REPOSITORY, JobsListed(jobs=()))
    assert harness.settled() == []  # its job is being stored, for all we know
    harness.receive(REPOSITORY, STORED)
    assert harness.settled() == [2]


def test_a_cancel_that_lost_its_lease_is_asked_again_under_the_next() -> None:
    """The end may not have been stored."""
    harness = Harness()
    harness.begin_round()
    harness.cancel(receipt=3)
    harness.renews = False
    harness.wait(6.0)
    harness.receive(REPOSITORY, LeaseHeld(holder=OTHER, seconds=1.0))
    assert keys.JobEnding(JOB) not in harness.asks
    harness.wait(1.0)
    harness.lead(epoch=3, jobs=(JOB,))
    harness.receive(REPOSITORY, loaded())
    assert harness.asked(keys.JobEnding(JOB), EndJob).phase == "cancelled"


def test_a_request_beyond_the_queue_is_refused_with_a_reason() -> None:
    """In the reply, on the job's topic and in the log; the others still wait."""
    harness = Harness()
    for number in range(MAX_HELD_REQUESTS):
        harness.submit(job_file(training_id=f"job-{number}"), receipt=number)
    harness.submit(job_file(training_id="late"), receipt=MAX_HELD_REQUESTS)
    problem = harness.answer()["faults"][0]["problem"]
    assert problem.startswith(f"{MAX_HELD_REQUESTS} requests wait already")
    assert harness.settled() == [MAX_HELD_REQUESTS]
    (left,) = refusals(harness)
    assert (left.job, left.request) == ("late", "submit")
    harness.cancel(b"job-1", receipt=MAX_HELD_REQUESTS + 1)
    assert harness.answer()["reason"] == problem
    harness.receive(REPOSITORY, LeaseGranted(epoch=1, seconds=15.0))
    asked = [key for key in harness.asks if isinstance(key, keys.JobStorage)]
    assert len(asked) == MAX_HELD_REQUESTS


# ── other controllers ────────────────────────────────────────────────────────────────────────────


def led(harness: Harness, times: int = 1) -> None:
    """Have another controller renew its lease this many times."""
    harness.renews = False
    for _ in range(times):
        if keys.LeaseRequest() not in harness.asks:
            harness.wait(12.0)
        harness.receive(REPOSITORY, LeaseHeld(holder=OTHER, seconds=12.0))


def test_a_standby_drops_a_request_that_the_leader_stored() -> None:
    """The broker may delete its copy."""
    harness = Harness()
    led(harness)
    harness.submit(job_file(), receipt=1)
    harness.cancel(receipt=2)
    harness.receive("", state("accepted"))
    assert harness.settled() == [1]
    harness.receive("", state("cancelled"))
    assert harness.settled() == [2]
    harness.wait(20.0)
    harness.lead(epoch=5)
    assert keys.JobStorage(JOB) not in harness.asks


def test_a_standby_drops_a_request_that_the_leader_refused() -> None:
    """Otherwise an old request would be decided when the standby takes over."""
    harness = Harness()
    led(harness)
    harness.submit(job_file(), receipt=1)
    harness.cancel(receipt=2)
    fault = JobFault(key="", problem="no")
    harness.receive("", RefusedRequest(job=JOB, request="submit", faults=(fault,)))
    assert harness.settled() == [1]
    harness.receive("", RefusedRequest(job=JOB, request="cancel", faults=(fault,)))
    assert harness.settled() == [2]


def test_a_standby_drops_a_request_after_some_renewals_of_the_leader() -> None:
    """About a request without an id no document is published."""
    harness = Harness()
    led(harness)
    harness.submit(b"{", receipt=1)
    led(harness, RENEWALS_BEFORE_RELEASE - 1)
    assert harness.settled() == []
    led(harness)
    assert harness.settled() == [1]
    harness.wait(20.0)
    harness.lead(epoch=5)
    assert harness.noted("job_refused") == []


def test_a_standby_takes_over_the_requests_that_the_leader_left() -> None:
    """It decides them once it leads."""
    harness = Harness()
    led(harness)
    harness.submit(job_file(), receipt=1)
    harness.wait(20.0)
    harness.lead(epoch=5)
    assert harness.asked(keys.JobStorage(JOB), StoreJob).epoch == 5


def test_documents_are_ignored_while_no_other_controller_leads() -> None:
    """They may be old, of a repository that does not exist any more."""
    harness = Harness()
    harness.submit(job_file(), receipt=1)
    harness.receive("", state("finished"))
    assert harness.settled() == []
    harness.lead()
    assert keys.JobStorage(JOB) in harness.asks


def test_a_standby_with_a_full_queue_drops_the_oldest() -> None:
    """The leader has all of them, so none is refused."""
    harness = Harness()
    led(harness)
    for number in range(MAX_HELD_REQUESTS + 1):
        harness.submit(job_file(training_id=f"job-{number}"), receipt=number)
    assert harness.settled() == [0]
    assert harness.replies() == []


# ── retained ─────────────────────────────────────────────────────────────────────────────────────


def test_retained_commands_are_ignored() -> None:
    """They arrive after every login; each is logged once."""
    harness = Harness()
    harness.begin_round()
    harness.cancel(retained=True, receipt=1)
    assert harness.settled() == [1]
    harness.submit(job_file(training_id="old"), retained=True)
    assert (
        harness.asks_of(
            keys.PlanStorage,
            keys.RoundOpening,
            keys.LeaseRequest,
            keys.JobListing,
            keys.TrainingRequest,
        )
        == []
    )
    assert [note["topic"] for note in harness.noted("retained_ignored")] == ["cancel", "submit"]


def test_a_retained_job_file_is_stored_answered_and_cleared() -> None:
    """In this order: the retained file exists until the repository has the job."""
    harness = Harness()
    harness.request(JOB, job_file())
    harness.lead()
    assert harness.cleared() == []
    harness.receive(REPOSITORY, STORED)
    assert harness.cleared() == [JOB]


def test_a_refused_retained_job_file_is_cleared_with_a_reason() -> None:
    """Otherwise it would begin later, once its model is pushed."""
    harness = Harness()
    harness.lead()
    harness.request(JOB, job_file(num_round=3))
    assert harness.cleared() == [JOB]
    (left,) = refusals(harness)
    assert (left.job, left.faults[0].key) == (JOB, "num_round")
    assert "num_round: unknown key" in harness.noted("job_refused")[0]["faults"][0]


def test_a_retained_job_file_has_the_id_of_its_topic() -> None:
    """Otherwise its documents would be on other topics than its sender expects."""
    harness = Harness()
    harness.lead()
    harness.request("other", job_file())
    assert harness.cleared() == ["other"]
    (left,) = refusals(harness)
    assert (left.job, left.faults[0].key) == ("other", "training_id")
    assert "published to jobs/other/request" in left.faults[0].problem


def test_a_retained_job_file_on_the_topic_of_no_id_is_cleared() -> None:
    """There is no topic for a refusal, so only the log has it."""
    harness = Harness()
    harness.lead()
    harness.request("no id", job_file())
    assert harness.cleared() == ["no id"]
    assert refusals(harness) == []
    assert len(harness.noted("job_refused")) == 1


def test_a_retained_job_file_can_be_withdrawn_while_no_controller_leads() -> None:
    """Its sender clears it; other requests stay."""
    harness = Harness()
    harness.request(JOB, job_file())
    harness.submit(job_file(training_id="stays"), receipt=4)
    harness.request(JOB, b"")
    harness.receive(REPOSITORY, LeaseGranted(epoch=1, seconds=15.0))
    assert [key for key in harness.asks if isinstance(key, keys.JobStorage)] == [
        keys.JobStorage("stays")
    ]


def test_a_cleared_command_is_no_command() -> None:
    """`mosquitto_pub -r -n -t submit` is delivered to subscribers, too."""
    harness = Harness()
    harness.lead()
    harness.submit(b"", None, receipt=5)
    assert harness.settled() == [5]
    assert harness.noted("job_refused") == []
    harness.submit(b"")
    assert not harness.answer()["accepted"]


# ── where a refusal goes ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("reply", [REPLY, None], ids=["reply topic", "none"])
def test_a_refusal_is_retained_beside_the_document_of_the_job(reply: ReplyTo | None) -> None:
    """MQTT 3.1.1 has no reply topics; the document may be about another job of the same id."""
    harness = Harness()
    harness.begin_round()
    harness.submit(job_file(num_rounds=9), reply)
    harness.receive(
        REPOSITORY, JobFileRefused(job=JOB, faults=(JobFault(key="training_id", problem="taken"),))
    )
    (left,) = refusals(harness)
    assert (left.job, left.request, left.faults[0].problem) == (JOB, "submit", "taken")
    assert len(harness.replies()) == (reply is not None)
    assert harness.sent(JobState) == []


def test_a_refusal_is_cleared_once_the_job_is_accepted() -> None:
    """A corrected file was stored: the faults of the first do not matter."""
    harness = Harness()
    harness.lead()
    harness.submit(job_file(num_round=1), None)
    assert refusals(harness)[0].job == JOB
    harness.submit(job_file(), None)
    harness.receive(REPOSITORY, STORED)
    assert Clear(JOB_REFUSED, {"job": JOB}) in harness.last


@pytest.mark.parametrize(
    "payload", [b"\xff\xfe", b"[]", b"{}", b'{"training_id": 7}', b'{"training_id": "a/#"}']
)
def test_a_refusal_without_a_readable_id_goes_to_the_log(payload: bytes) -> None:
    """And to the reply topic, if there is one."""
    harness = Harness()
    harness.lead()
    harness.submit(payload, None)
    assert refusals(harness) == []
    assert harness.noted("job_refused")[0]["job"] == ""


def test_a_refused_cancellation_is_retained() -> None:
    """With the reason; a client with MQTT 3.1.1 gets no other answer."""
    harness = Harness()
    harness.lead()
    harness.cancel(b"never-was", None)
    (left,) = refusals(harness)
    assert (left.job, left.request) == ("never-was", "cancel")
    assert "no running job" in left.faults[0].problem
    assert json.dumps(harness.noted("cancel_refused")[0]["job"]) == '"never-was"'


def test_an_answer_of_the_repository_settles_all_requests_about_it() -> None:
    """Of two cancellations, one has a reply topic, and both are settled."""
    harness = Harness()
    harness.begin_round()
    harness.cancel(receipt=1)
    harness.cancel(b'"job-1"', None, receipt=2)
    harness.receive(REPOSITORY, JobEnded(job=JOB, phase="cancelled", reason="cancelled by a user"))
    assert harness.answer() == {"job": JOB, "cancelled": True}
    assert harness.settled() == [1, 2]


def test_only_the_leader_handles_a_request_to_forget_a_job() -> None:
    """Such a request is not held: the command reports an error, and the user repeats it."""
    harness = Harness()
    harness.forget(JOB.encode())
    assert harness.last == []
