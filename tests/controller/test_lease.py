"""Who leads: the one that the repository says, with the epoch it says."""

import pytest

from fedbus.core.events import Connected, Stopping, Woke
from fedbus.wire.documents import JobState
from fedbus.wire.messages import (
    EvaluationStored,
    JobsListed,
    LeaseGranted,
    LeaseHeld,
    ListJobs,
    LoadJob,
    PlanStored,
    StaleEpoch,
    StoreJob,
    TakeLease,
)
from fedbus_controller import keys
from tests.controller.stand import (
    COLLECTOR,
    JOB,
    REPLY,
    REPOSITORY,
    A,
    B,
    Stand,
    accepted,
    committed,
    job_file,
    loaded,
)

LEASE = keys.LeaseRequest()


def test_a_controller_asks_for_the_lease_when_it_connects() -> None:
    """And leads nothing before it has it."""
    stand = Stand()
    assert stand.asked(LEASE, TakeLease).incarnation == 7
    stand.submit(job_file())
    assert stand.last == []


def test_it_renews_the_lease_in_time_and_lists_the_jobs_each_time() -> None:
    """Whatever it missed, or let go of, is found again."""
    stand = Stand()
    stand.lead()
    assert LEASE not in stand.asks
    stand.wait(5.0)
    assert LEASE in stand.asks
    stand.hear(REPOSITORY, LeaseGranted(epoch=1, seconds=15.0))
    assert LEASE not in stand.asks
    assert stand.asked(keys.JobListing(), ListJobs).epoch == 1


def test_it_waits_while_another_leads() -> None:
    """For as long as the repository says."""
    stand = Stand()
    stand.hear(REPOSITORY, LeaseHeld(holder="controller.2", seconds=8.0))
    assert stand.asks == {}
    stand.wait(7.9)
    assert stand.asks == {}
    stand.wait(0.2)
    assert LEASE in stand.asks


def test_answers_to_an_older_question_change_nothing() -> None:
    """A repetition of an earlier grant or refusal may come late."""
    stand = Stand()
    stand.lead(epoch=4)
    stand.hear(REPOSITORY, LeaseHeld(holder="controller.2", seconds=8.0))
    stand.hear(REPOSITORY, LeaseGranted(epoch=9, seconds=15.0))
    assert stand.last == []
    stand.wait(5.0)
    stand.hear(REPOSITORY, LeaseGranted(epoch=3, seconds=15.0))
    assert stand.last == []
    assert LEASE in stand.asks


@pytest.mark.parametrize(
    "lost",
    [LeaseHeld(holder="controller.2", seconds=8.0), StaleEpoch(epoch=2)],
    ids=["another holds it", "its epoch is stale"],
)
def test_who_loses_the_lease_lets_go_of_everything(lost: object) -> None:
    """No ask under the old epoch outlives it, nor any timer of a job."""
    stand = Stand()
    stand.begin_round()
    stand.submit(job_file(training_id="job-2"))
    stand.hear(REPOSITORY, JobsListed(jobs=("job-3",)))
    stand.wait(5.0)
    assert {*stand.asks_of()} == {
        keys.JobLoading,
        keys.JobStorage,
        keys.LeaseRequest,
        keys.RoundOpening,
        keys.TrainingRequest,
    }
    stand.hear(REPOSITORY, lost)
    assert stand.asks_of(keys.LeaseRequest) == []
    assert set(stand.timers) <= {keys.LeaseRenewal()}
    assert stand.noted("lease_lost")
    stand.hear(REPOSITORY, accepted(job="job-2"))
    assert stand.last == []


def test_a_lease_that_was_not_renewed_in_time_is_lost() -> None:
    """Whoever stood still says nothing of what it believes: another may lead since."""
    stand = Stand()
    stand.begin_round()
    stand.renews = False
    stand.now += 15.0
    stand.tell(Woke(keys.LivenessCheck(JOB)))
    assert stand.noted("lease_lost") == [{"renewed": False}]
    assert stand.said(JobState) == []
    assert stand.asks_of(keys.LeaseRequest) == []
    stand.tell(Connected())
    assert stand.said(JobState) == []


def test_a_grant_that_comes_too_late_is_asked_for_again() -> None:
    """It holds from when it was asked for, at the latest."""
    stand = Stand()
    stand.now += 15.0
    stand.hear(REPOSITORY, LeaseGranted(epoch=1, seconds=15.0))
    assert stand.noted("lease_taken") == []
    assert LEASE in stand.asks
    stand.lead()
    assert stand.noted("lease_taken") == [{"epoch": 1}]


def test_a_stale_epoch_is_told_once() -> None:
    """Its repetition must not end the lease that was taken meanwhile."""
    stand = Stand()
    stand.lead(epoch=1)
    stand.hear(REPOSITORY, StaleEpoch(epoch=2))
    assert LEASE in stand.asks
    stand.lead(epoch=3)
    stand.hear(REPOSITORY, StaleEpoch(epoch=2))
    assert stand.last == []
    stand.submit(job_file())
    assert stand.asked(keys.JobStorage(JOB), StoreJob).epoch == 3


def test_who_does_not_lead_has_nothing_to_lose() -> None:
    """It only learns of the epoch."""
    stand = Stand()
    stand.hear(REPOSITORY, StaleEpoch(epoch=2))
    assert stand.noted("lease_lost") == []
    stand.hear(REPOSITORY, LeaseGranted(epoch=1, seconds=15.0))
    assert stand.last == []


def test_a_node_that_speaks_of_a_higher_epoch_is_checked_with_the_repository() -> None:
    """Anybody may say so; only the repository ends a lease."""
    stand = Stand()
    stand.begin_round()
    stand.hear(A, StaleEpoch(epoch=2**40))
    assert LEASE in stand.asks
    assert keys.RoundOpening(JOB) in stand.asks
    stand.hear(REPOSITORY, LeaseGranted(epoch=1, seconds=15.0))
    stand.hear(COLLECTOR, StaleEpoch(epoch=1))
    assert stand.last == []
    assert keys.RoundOpening(JOB) in stand.asks


def test_a_new_epoch_loads_the_jobs_again() -> None:
    """What is known under the old one may be out of date."""
    stand = Stand()
    stand.begin_round()
    stand.wait(5.0)
    stand.hear(REPOSITORY, LeaseGranted(epoch=2, seconds=15.0))
    assert stand.asks_of() == [keys.JobListing]
    stand.hear(REPOSITORY, JobsListed(jobs=(JOB,)))
    assert stand.asked(keys.JobLoading(JOB), LoadJob).epoch == 2


def test_a_job_is_loaded_once() -> None:
    """However often it is listed, and whatever is repeated."""
    stand = Stand()
    stand.begin()
    stand.hear(REPOSITORY, JobsListed(jobs=(JOB,)))
    stand.hear(REPOSITORY, loaded())
    assert stand.last == []
    assert keys.JobLoading(JOB) not in stand.asks
    assert len(stand.noted("job_begun")) == 1


def test_what_is_not_known_is_not_acted_upon() -> None:
    """News of jobs that do not run here, and timers of jobs that are over."""
    stand = Stand()
    stand.lead()
    stand.hear(REPOSITORY, PlanStored(job="job-9", task=1))
    stand.hear(REPOSITORY, object())
    stand.hear(A, object())
    stand.tell(Stopping())
    assert stand.last == []
    stand.hear(REPOSITORY, EvaluationStored(job="job-9", round=1))
    assert stand.asks == {}


def test_job_states_are_announced_again_on_every_connection() -> None:
    """A broker may have lost what it retained."""
    stand = Stand()
    stand.begin()
    stand.tell(Connected())
    assert stand.state().phase == "accepted"
    assert stand.state().job == JOB


def test_people_who_wait_are_answered_by_whoever_leads_next() -> None:
    """A request is undecided again when the lease is lost; if we lead again, we decide it."""
    stand = Stand()
    stand.lead()
    stand.submit(job_file())
    stand.wait(5.0)
    stand.hear(REPOSITORY, LeaseHeld(holder="controller.2", seconds=8.0))
    assert keys.JobStorage(JOB) not in stand.asks
    stand.wait(8.0)
    stand.lead(epoch=3)
    assert stand.asked(keys.JobStorage(JOB), StoreJob).epoch == 3
    stand.hear(REPOSITORY, accepted())
    assert stand.answer()["accepted"]


def test_it_announces_nothing_of_itself() -> None:
    """Being there is enough."""
    stand = Stand()
    assert stand.core.facts() is None
    assert stand.core.progress() == 0.0


def test_a_heartbeat_is_heard_from_anybody() -> None:
    """It keeps an agent in the fleet, and a round open."""
    stand = Stand()
    plan = stand.begin_round()
    stand.wait(20.0)
    assert stand.asks_of(keys.TrainingRequest, keys.RoundOpening, keys.LeaseRequest) == []
    stand.hear(COLLECTOR, committed(plan))
    assert {A, B} <= set(plan.cohort)
    assert REPLY is not None
