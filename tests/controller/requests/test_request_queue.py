"""No request is lost: it waits, here and at the broker, until the repository has stored its end."""

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
    JobRefused,
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
    """What was left on jobs/ID/request/refused by the last event."""
    return harness.said(RefusedRequest)


def state(phase: Any) -> JobState:  # noqa: ANN401 - a phase
    """What another controller says of the job."""
    return JobState(
        job=JOB, model="digits", phase=phase, round=0, num_rounds=2, metrics={}, reason=""
    )


# ── until it is stored ───────────────────────────────────────────────────────────────────────────


def test_a_job_published_without_a_leader_is_stored_when_one_leads() -> None:
    """And only then may the broker forget it."""
    harness = Harness()
    harness.submit(job_file(), receipt=7)
    assert harness.last == []
    harness.hear(REPOSITORY, LeaseGranted(epoch=1, seconds=15.0))
    assert harness.asked(keys.JobStorage(JOB), StoreJob).file == job_file()
    assert harness.settled() == []
    harness.hear(REPOSITORY, STORED)
    assert harness.settled() == [7]
    assert harness.answer()["accepted"]


def test_what_the_broker_gives_again_on_a_new_connection_is_the_same_request() -> None:
    """It has another receipt there, and is answered once."""
    harness = Harness()
    harness.lead()
    harness.submit(job_file(), receipt=7)
    harness.tell(Connected())
    harness.submit(job_file(), receipt=9)
    assert harness.settled() == []
    harness.hear(REPOSITORY, STORED)
    assert harness.settled() == [9]
    assert harness.answer()["accepted"]


def test_what_a_client_says_twice_on_one_connection_is_settled_twice() -> None:
    """Or the second would wait at the broker for ever."""
    harness = Harness()
    harness.submit(job_file(), receipt=7)
    harness.submit(job_file(), receipt=8)
    assert harness.settled() == [8]
    harness.submit(job_file())
    assert harness.settled() == []
    harness.lead()
    harness.hear(REPOSITORY, STORED)
    assert harness.settled() == [7]


def test_what_is_refused_is_settled_as_well() -> None:
    """By us, or by the repository."""
    harness = Harness()
    harness.lead()
    harness.submit(b"{", receipt=1)
    assert harness.settled() == [1]
    harness.submit(job_file(), receipt=2)
    harness.hear(REPOSITORY, JobRefused(job=JOB, faults=(JobFault(key="", problem="no"),)))
    assert harness.settled() == [2]


def test_a_cancel_waits_for_the_leader_and_for_the_end_to_be_stored() -> None:
    """A job that runs since before we led is cancelled as soon as it is loaded."""
    harness = Harness()
    harness.cancel(receipt=3)
    harness.lead(jobs=(JOB,))
    assert harness.settled() == []
    harness.hear(REPOSITORY, loaded())
    end = harness.asked(keys.JobEnding(JOB), EndJob)
    assert end.phase == "cancelled"
    assert harness.settled() == []
    harness.hear(REPOSITORY, JobEnded(job=JOB, phase="cancelled", reason=end.reason))
    assert harness.settled() == [3]
    assert harness.answer() == {"job": JOB, "cancelled": True}


def test_a_cancel_that_came_before_its_job_ends_it_and_not_the_next_one() -> None:
    """They are decided in the order in which they came."""
    harness = Harness()
    harness.cancel(receipt=1)
    harness.submit(job_file(), receipt=2)
    harness.hear(REPOSITORY, LeaseGranted(epoch=1, seconds=15.0))
    harness.hear(REPOSITORY, JobsListed(jobs=()))
    assert harness.settled() == []  # its job is being stored, for all we know
    harness.hear(REPOSITORY, STORED)
    assert harness.settled() == [2]


def test_a_cancel_that_lost_its_lease_is_asked_again_under_the_next() -> None:
    """The end may not have been stored."""
    harness = Harness()
    harness.begin_round()
    harness.cancel(receipt=3)
    harness.renews = False
    harness.wait(6.0)
    harness.hear(REPOSITORY, LeaseHeld(holder=OTHER, seconds=1.0))
    assert keys.JobEnding(JOB) not in harness.asks
    harness.wait(1.0)
    harness.lead(epoch=3, jobs=(JOB,))
    harness.hear(REPOSITORY, loaded())
    assert harness.asked(keys.JobEnding(JOB), EndJob).phase == "cancelled"


def test_more_than_can_be_held_is_refused_with_a_sentence() -> None:
    """To its asker, on the job's topic and in the log; the rest still waits."""
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
    harness.hear(REPOSITORY, LeaseGranted(epoch=1, seconds=15.0))
    asked = [key for key in harness.asks if isinstance(key, keys.JobStorage)]
    assert len(asked) == MAX_HELD_REQUESTS


# ── other controllers ────────────────────────────────────────────────────────────────────────────


def led(harness: Harness, times: int = 1) -> None:
    """Let another controller be known to lead, and say so as often as this."""
    harness.renews = False
    for _ in range(times):
        if keys.LeaseRequest() not in harness.asks:
            harness.wait(12.0)
        harness.hear(REPOSITORY, LeaseHeld(holder=OTHER, seconds=12.0))


def test_a_standby_drops_what_another_has_stored() -> None:
    """And the broker may forget its copy."""
    harness = Harness()
    led(harness)
    harness.submit(job_file(), receipt=1)
    harness.cancel(receipt=2)
    harness.hear("", state("accepted"))
    assert harness.settled() == [1]
    harness.hear("", state("cancelled"))
    assert harness.settled() == [2]
    harness.wait(20.0)
    harness.lead(epoch=5)
    assert keys.JobStorage(JOB) not in harness.asks


def test_a_standby_drops_what_another_has_refused() -> None:
    """Or an old wish would come true when it takes over."""
    harness = Harness()
    led(harness)
    harness.submit(job_file(), receipt=1)
    harness.cancel(receipt=2)
    fault = JobFault(key="", problem="no")
    harness.hear("", RefusedRequest(job=JOB, request="submit", faults=(fault,)))
    assert harness.settled() == [1]
    harness.hear("", RefusedRequest(job=JOB, request="cancel", faults=(fault,)))
    assert harness.settled() == [2]


def test_a_standby_drops_what_the_leader_has_had_time_for() -> None:
    """What has no id leaves no trace by which it could know."""
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


def test_a_standby_takes_over_what_the_leader_left() -> None:
    """The same words, once it leads itself."""
    harness = Harness()
    led(harness)
    harness.submit(job_file(), receipt=1)
    harness.wait(20.0)
    harness.lead(epoch=5)
    assert harness.asked(keys.JobStorage(JOB), StoreJob).epoch == 5


def test_what_is_said_of_a_job_means_nothing_while_nobody_else_leads() -> None:
    """It may be retained since long ago, of a repository that is gone."""
    harness = Harness()
    harness.submit(job_file(), receipt=1)
    harness.hear("", state("finished"))
    assert harness.settled() == []
    harness.lead()
    assert keys.JobStorage(JOB) in harness.asks


def test_a_standby_that_holds_too_much_lets_the_oldest_go() -> None:
    """The leader has them all; refusing would be a lie."""
    harness = Harness()
    led(harness)
    for number in range(MAX_HELD_REQUESTS + 1):
        harness.submit(job_file(training_id=f"job-{number}"), receipt=number)
    assert harness.settled() == [0]
    assert harness.replies() == []


# ── retained ─────────────────────────────────────────────────────────────────────────────────────


def test_retained_commands_are_old_wishes() -> None:
    """They come at every login; each is said once in the log, and not followed."""
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
    """In this order: what survives the broker is there until the repository has it."""
    harness = Harness()
    harness.request(JOB, job_file())
    harness.lead()
    assert harness.cleared() == []
    harness.hear(REPOSITORY, STORED)
    assert harness.cleared() == [JOB]


def test_a_retained_job_file_that_is_refused_is_cleared_and_says_why() -> None:
    """Or it would begin by itself once its model is there."""
    harness = Harness()
    harness.lead()
    harness.request(JOB, job_file(num_round=3))
    assert harness.cleared() == [JOB]
    (left,) = refusals(harness)
    assert (left.job, left.faults[0].key) == (JOB, "num_round")
    assert "num_round: unknown key" in harness.noted("job_refused")[0]["faults"][0]


def test_a_retained_job_file_has_the_id_of_its_topic() -> None:
    """Or it would be cleared, answered and watched elsewhere than its sender thinks."""
    harness = Harness()
    harness.lead()
    harness.request("other", job_file())
    assert harness.cleared() == ["other"]
    (left,) = refusals(harness)
    assert (left.job, left.faults[0].key) == ("other", "training_id")
    assert "published to jobs/other/request" in left.faults[0].problem


def test_a_retained_job_file_on_the_topic_of_no_id_is_cleared() -> None:
    """There is no job to leave a word at, so only the log has it."""
    harness = Harness()
    harness.lead()
    harness.request("no id", job_file())
    assert harness.cleared() == ["no id"]
    assert refusals(harness) == []
    assert len(harness.noted("job_refused")) == 1


def test_a_retained_job_file_can_be_taken_back_while_nobody_leads() -> None:
    """Its sender clears it; what is held of other forms stays."""
    harness = Harness()
    harness.request(JOB, job_file())
    harness.submit(job_file(training_id="stays"), receipt=4)
    harness.request(JOB, b"")
    harness.hear(REPOSITORY, LeaseGranted(epoch=1, seconds=15.0))
    assert [key for key in harness.asks if isinstance(key, keys.JobStorage)] == [
        keys.JobStorage("stays")
    ]


def test_a_cleared_command_is_no_command() -> None:
    """`mosquitto_pub -r -n -t submit` tells a subscriber as well."""
    harness = Harness()
    harness.lead()
    harness.submit(b"", None, receipt=5)
    assert harness.settled() == [5]
    assert harness.noted("job_refused") == []
    harness.submit(b"")
    assert not harness.answer()["accepted"]


# ── where a refusal goes ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("reply", [REPLY, None], ids=["reply topic", "none"])
def test_a_refusal_is_left_at_the_job_and_never_on_its_state(reply: ReplyTo | None) -> None:
    """Who speaks MQTT 3.1.1 cannot name a reply topic; a known job's state is the job's."""
    harness = Harness()
    harness.begin_round()
    harness.submit(job_file(num_rounds=9), reply)
    harness.hear(
        REPOSITORY, JobRefused(job=JOB, faults=(JobFault(key="training_id", problem="taken"),))
    )
    (left,) = refusals(harness)
    assert (left.job, left.request, left.faults[0].problem) == (JOB, "submit", "taken")
    assert len(harness.replies()) == (reply is not None)
    assert harness.said(JobState) == []


def test_a_refusal_is_taken_back_once_the_job_is_accepted() -> None:
    """A mended file was stored: what was wrong with the first is history."""
    harness = Harness()
    harness.lead()
    harness.submit(job_file(num_round=1), None)
    assert refusals(harness)[0].job == JOB
    harness.submit(job_file(), None)
    harness.hear(REPOSITORY, STORED)
    assert Clear(JOB_REFUSED, {"job": JOB}) in harness.last


@pytest.mark.parametrize(
    "payload", [b"\xff\xfe", b"[]", b"{}", b'{"training_id": 7}', b'{"training_id": "a/#"}']
)
def test_a_refusal_without_a_readable_id_goes_to_the_log(payload: bytes) -> None:
    """And to the reply topic, where there is one."""
    harness = Harness()
    harness.lead()
    harness.submit(payload, None)
    assert refusals(harness) == []
    assert harness.noted("job_refused")[0]["job"] == ""


def test_a_cancel_that_is_refused_is_left_at_the_job() -> None:
    """With the reason; `cancel` from MQTT 3.1.1 has no other answer."""
    harness = Harness()
    harness.lead()
    harness.cancel(b"never-was", None)
    (left,) = refusals(harness)
    assert (left.job, left.request) == ("never-was", "cancel")
    assert "no running job" in left.faults[0].problem
    assert json.dumps(harness.noted("cancel_refused")[0]["job"]) == '"never-was"'


def test_an_answer_of_the_repository_goes_to_all_who_wait_for_it() -> None:
    """Two ask for a cancellation; one can be answered, and both are dealt with."""
    harness = Harness()
    harness.begin_round()
    harness.cancel(receipt=1)
    harness.cancel(b'"job-1"', None, receipt=2)
    harness.hear(REPOSITORY, JobEnded(job=JOB, phase="cancelled", reason="cancelled by a user"))
    assert harness.answer() == {"job": JOB, "cancelled": True}
    assert harness.settled() == [1, 2]


def test_to_forget_a_job_is_asked_of_who_leads_only() -> None:
    """It is no wish that must be kept: the command says so at once, and is said again."""
    harness = Harness()
    harness.forget(JOB.encode())
    assert harness.last == []
