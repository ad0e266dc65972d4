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
from fedbus_controller.request_queue import MAX_HELD_REQUESTS, PROOFS
from tests.controller.stand import JOB, REPLY, REPOSITORY, Stand, accepted, job_file, loaded

STORED = accepted()
OTHER = "controller.2"


def refusals(stand: Stand) -> list[RefusedRequest]:
    """What was left on jobs/ID/request/refused by the last event."""
    return stand.said(RefusedRequest)


def state(phase: Any) -> JobState:  # noqa: ANN401 - a phase
    """What another controller says of the job."""
    return JobState(
        job=JOB, model="digits", phase=phase, round=0, num_rounds=2, metrics={}, reason=""
    )


# ── until it is stored ───────────────────────────────────────────────────────────────────────────


def test_a_job_published_without_a_leader_is_stored_when_one_leads() -> None:
    """And only then may the broker forget it."""
    stand = Stand()
    stand.submit(job_file(), receipt=7)
    assert stand.last == []
    stand.hear(REPOSITORY, LeaseGranted(epoch=1, seconds=15.0))
    assert stand.asked(keys.JobStorage(JOB), StoreJob).file == job_file()
    assert stand.settled() == []
    stand.hear(REPOSITORY, STORED)
    assert stand.settled() == [7]
    assert stand.answer()["accepted"]


def test_what_the_broker_gives_again_on_a_new_connection_is_the_same_request() -> None:
    """It has another receipt there, and is answered once."""
    stand = Stand()
    stand.lead()
    stand.submit(job_file(), receipt=7)
    stand.tell(Connected())
    stand.submit(job_file(), receipt=9)
    assert stand.settled() == []
    stand.hear(REPOSITORY, STORED)
    assert stand.settled() == [9]
    assert stand.answer()["accepted"]


def test_what_a_client_says_twice_on_one_connection_is_settled_twice() -> None:
    """Or the second would wait at the broker for ever."""
    stand = Stand()
    stand.submit(job_file(), receipt=7)
    stand.submit(job_file(), receipt=8)
    assert stand.settled() == [8]
    stand.submit(job_file())
    assert stand.settled() == []
    stand.lead()
    stand.hear(REPOSITORY, STORED)
    assert stand.settled() == [7]


def test_what_is_refused_is_settled_as_well() -> None:
    """By us, or by the repository."""
    stand = Stand()
    stand.lead()
    stand.submit(b"{", receipt=1)
    assert stand.settled() == [1]
    stand.submit(job_file(), receipt=2)
    stand.hear(REPOSITORY, JobRefused(job=JOB, faults=(JobFault(key="", problem="no"),)))
    assert stand.settled() == [2]


def test_a_cancel_waits_for_the_leader_and_for_the_end_to_be_stored() -> None:
    """A job that runs since before we led is cancelled as soon as it is loaded."""
    stand = Stand()
    stand.cancel(receipt=3)
    stand.lead(jobs=(JOB,))
    assert stand.settled() == []
    stand.hear(REPOSITORY, loaded())
    end = stand.asked(keys.JobEnding(JOB), EndJob)
    assert end.phase == "cancelled"
    assert stand.settled() == []
    stand.hear(REPOSITORY, JobEnded(job=JOB, phase="cancelled", reason=end.reason))
    assert stand.settled() == [3]
    assert stand.answer() == {"job": JOB, "cancelled": True}


def test_a_cancel_that_came_before_its_job_ends_it_and_not_the_next_one() -> None:
    """They are decided in the order in which they came."""
    stand = Stand()
    stand.cancel(receipt=1)
    stand.submit(job_file(), receipt=2)
    stand.hear(REPOSITORY, LeaseGranted(epoch=1, seconds=15.0))
    stand.hear(REPOSITORY, JobsListed(jobs=()))
    assert stand.settled() == []  # its job is being stored, for all we know
    stand.hear(REPOSITORY, STORED)
    assert stand.settled() == [2]


def test_a_cancel_that_lost_its_lease_is_asked_again_under_the_next() -> None:
    """The end may not have been stored."""
    stand = Stand()
    stand.begin_round()
    stand.cancel(receipt=3)
    stand.renews = False
    stand.wait(6.0)
    stand.hear(REPOSITORY, LeaseHeld(holder=OTHER, seconds=1.0))
    assert keys.JobEnding(JOB) not in stand.asks
    stand.wait(1.0)
    stand.lead(epoch=3, jobs=(JOB,))
    stand.hear(REPOSITORY, loaded())
    assert stand.asked(keys.JobEnding(JOB), EndJob).phase == "cancelled"


def test_more_than_can_be_held_is_refused_with_a_sentence() -> None:
    """To its asker, on the job's topic and in the log; the rest still waits."""
    stand = Stand()
    for number in range(MAX_HELD_REQUESTS):
        stand.submit(job_file(training_id=f"job-{number}"), receipt=number)
    stand.submit(job_file(training_id="late"), receipt=MAX_HELD_REQUESTS)
    problem = stand.answer()["faults"][0]["problem"]
    assert problem.startswith(f"{MAX_HELD_REQUESTS} requests wait already")
    assert stand.settled() == [MAX_HELD_REQUESTS]
    (left,) = refusals(stand)
    assert (left.job, left.request) == ("late", "submit")
    stand.cancel(b"job-1", receipt=MAX_HELD_REQUESTS + 1)
    assert stand.answer()["reason"] == problem
    stand.hear(REPOSITORY, LeaseGranted(epoch=1, seconds=15.0))
    assert len([key for key in stand.asks if isinstance(key, keys.JobStorage)]) == MAX_HELD_REQUESTS


# ── other controllers ────────────────────────────────────────────────────────────────────────────


def led(stand: Stand, times: int = 1) -> None:
    """Let another controller be known to lead, and say so as often as this."""
    stand.renews = False
    for _ in range(times):
        if keys.LeaseRequest() not in stand.asks:
            stand.wait(12.0)
        stand.hear(REPOSITORY, LeaseHeld(holder=OTHER, seconds=12.0))


def test_a_standby_drops_what_another_has_stored() -> None:
    """And the broker may forget its copy."""
    stand = Stand()
    led(stand)
    stand.submit(job_file(), receipt=1)
    stand.cancel(receipt=2)
    stand.hear("", state("accepted"))
    assert stand.settled() == [1]
    stand.hear("", state("cancelled"))
    assert stand.settled() == [2]
    stand.wait(20.0)
    stand.lead(epoch=5)
    assert keys.JobStorage(JOB) not in stand.asks


def test_a_standby_drops_what_another_has_refused() -> None:
    """Or an old wish would come true when it takes over."""
    stand = Stand()
    led(stand)
    stand.submit(job_file(), receipt=1)
    stand.cancel(receipt=2)
    fault = JobFault(key="", problem="no")
    stand.hear("", RefusedRequest(job=JOB, request="submit", faults=(fault,)))
    assert stand.settled() == [1]
    stand.hear("", RefusedRequest(job=JOB, request="cancel", faults=(fault,)))
    assert stand.settled() == [2]


def test_a_standby_drops_what_the_leader_has_had_time_for() -> None:
    """What has no id leaves no trace by which it could know."""
    stand = Stand()
    led(stand)
    stand.submit(b"{", receipt=1)
    led(stand, PROOFS - 1)
    assert stand.settled() == []
    led(stand)
    assert stand.settled() == [1]
    stand.wait(20.0)
    stand.lead(epoch=5)
    assert stand.noted("job_refused") == []


def test_a_standby_takes_over_what_the_leader_left() -> None:
    """The same words, once it leads itself."""
    stand = Stand()
    led(stand)
    stand.submit(job_file(), receipt=1)
    stand.wait(20.0)
    stand.lead(epoch=5)
    assert stand.asked(keys.JobStorage(JOB), StoreJob).epoch == 5


def test_what_is_said_of_a_job_means_nothing_while_nobody_else_leads() -> None:
    """It may be retained since long ago, of a repository that is gone."""
    stand = Stand()
    stand.submit(job_file(), receipt=1)
    stand.hear("", state("finished"))
    assert stand.settled() == []
    stand.lead()
    assert keys.JobStorage(JOB) in stand.asks


def test_a_standby_that_holds_too_much_lets_the_oldest_go() -> None:
    """The leader has them all; refusing would be a lie."""
    stand = Stand()
    led(stand)
    for number in range(MAX_HELD_REQUESTS + 1):
        stand.submit(job_file(training_id=f"job-{number}"), receipt=number)
    assert stand.settled() == [0]
    assert stand.replies() == []


# ── retained ─────────────────────────────────────────────────────────────────────────────────────


def test_retained_commands_are_old_wishes() -> None:
    """They come at every login; each is said once in the log, and not followed."""
    stand = Stand()
    stand.begin_round()
    stand.cancel(retained=True, receipt=1)
    assert stand.settled() == [1]
    stand.submit(job_file(training_id="old"), retained=True)
    assert (
        stand.asks_of(
            keys.PlanStorage,
            keys.RoundOpening,
            keys.LeaseRequest,
            keys.JobListing,
            keys.TrainingRequest,
        )
        == []
    )
    assert [note["topic"] for note in stand.noted("retained_ignored")] == ["cancel", "submit"]


def test_a_retained_job_file_is_stored_answered_and_cleared() -> None:
    """In this order: what survives the broker is there until the repository has it."""
    stand = Stand()
    stand.request(JOB, job_file())
    stand.lead()
    assert stand.cleared() == []
    stand.hear(REPOSITORY, STORED)
    assert stand.cleared() == [JOB]


def test_a_retained_job_file_that_is_refused_is_cleared_and_says_why() -> None:
    """Or it would begin by itself once its model is there."""
    stand = Stand()
    stand.lead()
    stand.request(JOB, job_file(num_round=3))
    assert stand.cleared() == [JOB]
    (left,) = refusals(stand)
    assert (left.job, left.faults[0].key) == (JOB, "num_round")
    assert "num_round: unknown key" in stand.noted("job_refused")[0]["faults"][0]


def test_a_retained_job_file_has_the_id_of_its_topic() -> None:
    """Or it would be cleared, answered and watched elsewhere than its sender thinks."""
    stand = Stand()
    stand.lead()
    stand.request("other", job_file())
    assert stand.cleared() == ["other"]
    (left,) = refusals(stand)
    assert (left.job, left.faults[0].key) == ("other", "training_id")
    assert "published to jobs/other/request" in left.faults[0].problem


def test_a_retained_job_file_on_the_topic_of_no_id_is_cleared() -> None:
    """There is no job to leave a word at, so only the log has it."""
    stand = Stand()
    stand.lead()
    stand.request("no id", job_file())
    assert stand.cleared() == ["no id"]
    assert refusals(stand) == []
    assert len(stand.noted("job_refused")) == 1


def test_a_retained_job_file_can_be_taken_back_while_nobody_leads() -> None:
    """Its sender clears it; what is held of other forms stays."""
    stand = Stand()
    stand.request(JOB, job_file())
    stand.submit(job_file(training_id="stays"), receipt=4)
    stand.request(JOB, b"")
    stand.hear(REPOSITORY, LeaseGranted(epoch=1, seconds=15.0))
    assert [key for key in stand.asks if isinstance(key, keys.JobStorage)] == [
        keys.JobStorage("stays")
    ]


def test_a_cleared_command_is_no_command() -> None:
    """`mosquitto_pub -r -n -t submit` tells a subscriber as well."""
    stand = Stand()
    stand.lead()
    stand.submit(b"", None, receipt=5)
    assert stand.settled() == [5]
    assert stand.noted("job_refused") == []
    stand.submit(b"")
    assert not stand.answer()["accepted"]


# ── where a refusal goes ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("reply", [REPLY, None], ids=["reply topic", "none"])
def test_a_refusal_is_left_at_the_job_and_never_on_its_state(reply: ReplyTo | None) -> None:
    """Who speaks MQTT 3.1.1 cannot name a reply topic; a known job's state is the job's."""
    stand = Stand()
    stand.begin_round()
    stand.submit(job_file(num_rounds=9), reply)
    stand.hear(
        REPOSITORY, JobRefused(job=JOB, faults=(JobFault(key="training_id", problem="taken"),))
    )
    (left,) = refusals(stand)
    assert (left.job, left.request, left.faults[0].problem) == (JOB, "submit", "taken")
    assert len(stand.replies()) == (reply is not None)
    assert stand.said(JobState) == []


def test_a_refusal_is_taken_back_once_the_job_is_accepted() -> None:
    """A mended file was stored: what was wrong with the first is history."""
    stand = Stand()
    stand.lead()
    stand.submit(job_file(num_round=1), None)
    assert refusals(stand)[0].job == JOB
    stand.submit(job_file(), None)
    stand.hear(REPOSITORY, STORED)
    assert Clear(JOB_REFUSED, {"job": JOB}) in stand.last


@pytest.mark.parametrize(
    "payload", [b"\xff\xfe", b"[]", b"{}", b'{"training_id": 7}', b'{"training_id": "a/#"}']
)
def test_a_refusal_without_a_readable_id_goes_to_the_log(payload: bytes) -> None:
    """And to the reply topic, where there is one."""
    stand = Stand()
    stand.lead()
    stand.submit(payload, None)
    assert refusals(stand) == []
    assert stand.noted("job_refused")[0]["job"] == ""


def test_a_cancel_that_is_refused_is_left_at_the_job() -> None:
    """With the reason; `cancel` from MQTT 3.1.1 has no other answer."""
    stand = Stand()
    stand.lead()
    stand.cancel(b"never-was", None)
    (left,) = refusals(stand)
    assert (left.job, left.request) == ("never-was", "cancel")
    assert "no running job" in left.faults[0].problem
    assert json.dumps(stand.noted("cancel_refused")[0]["job"]) == '"never-was"'


def test_an_answer_of_the_repository_goes_to_all_who_wait_for_it() -> None:
    """Two ask for a cancellation; one can be answered, and both are dealt with."""
    stand = Stand()
    stand.begin_round()
    stand.cancel(receipt=1)
    stand.cancel(b'"job-1"', None, receipt=2)
    stand.hear(REPOSITORY, JobEnded(job=JOB, phase="cancelled", reason="cancelled by a user"))
    assert stand.answer() == {"job": JOB, "cancelled": True}
    assert stand.settled() == [1, 2]


def test_to_forget_a_job_is_asked_of_who_leads_only() -> None:
    """It is no wish that must be kept: the command says so at once, and is said again."""
    stand = Stand()
    stand.forget(JOB.encode())
    assert stand.last == []
