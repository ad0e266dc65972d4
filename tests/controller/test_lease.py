"""The lease: the repository decides which controller leads, and under which epoch."""

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
from tests.controller.harness import (
    COLLECTOR,
    JOB,
    REPLY,
    REPOSITORY,
    A,
    B,
    Harness,
    accepted,
    committed,
    job_file,
    loaded,
)

LEASE = keys.LeaseRequest()


def test_a_controller_asks_for_the_lease_when_it_connects() -> None:
    """It decides nothing before the lease is granted."""
    harness = Harness()
    assert harness.asked(LEASE, TakeLease).incarnation == 7
    harness.submit(job_file())
    assert harness.last == []


def test_it_renews_the_lease_in_time_and_lists_the_jobs_each_time() -> None:
    """Jobs that it missed or released are found again."""
    harness = Harness()
    harness.lead()
    assert LEASE not in harness.asks
    harness.wait(5.0)
    assert LEASE in harness.asks
    harness.receive(REPOSITORY, LeaseGranted(epoch=1, seconds=15.0))
    assert LEASE not in harness.asks
    assert harness.asked(keys.JobListing(), ListJobs).epoch == 1


def test_it_waits_while_another_leads() -> None:
    """For as long as the repository says."""
    harness = Harness()
    harness.receive(REPOSITORY, LeaseHeld(holder="controller.2", seconds=8.0))
    assert harness.asks == {}
    harness.wait(7.9)
    assert harness.asks == {}
    harness.wait(0.2)
    assert LEASE in harness.asks


def test_answers_to_an_older_question_change_nothing() -> None:
    """A repetition of an earlier grant or refusal may come late."""
    harness = Harness()
    harness.lead(epoch=4)
    harness.receive(REPOSITORY, LeaseHeld(holder="controller.2", seconds=8.0))
    harness.receive(REPOSITORY, LeaseGranted(epoch=9, seconds=15.0))
    assert harness.last == []
    harness.wait(5.0)
    harness.receive(REPOSITORY, LeaseGranted(epoch=3, seconds=15.0))
    assert harness.last == []
    assert LEASE in harness.asks


@pytest.mark.parametrize(
    "lost",
    [LeaseHeld(holder="controller.2", seconds=8.0), StaleEpoch(epoch=2)],
    ids=["another holds it", "its epoch is stale"],
)
def test_a_controller_that_loses_the_lease_cancels_everything(lost: object) -> None:
    """No ask under the old epoch remains, and no timer of a job."""
    harness = Harness()
    harness.begin_round()
    harness.submit(job_file(training_id="job-2"))
    harness.receive(REPOSITORY, JobsListed(jobs=("job-3",)))
    harness.wait(5.0)
    assert {*harness.asks_of()} == {
        keys.JobLoading,
        keys.JobStorage,
        keys.LeaseRequest,
        keys.RoundOpening,
        keys.TrainingRequest,
    }
    harness.receive(REPOSITORY, lost)
    assert harness.asks_of(keys.LeaseRequest) == []
    assert set(harness.timers) <= {keys.LeaseRenewal()}
    assert harness.noted("lease_lost")
    harness.receive(REPOSITORY, accepted(job="job-2"))
    assert harness.last == []


def test_a_lease_that_was_not_renewed_in_time_is_lost() -> None:
    """A process that was suspended announces nothing: another controller may lead."""
    harness = Harness()
    harness.begin_round()
    harness.renews = False
    harness.now += 15.0
    harness.handle(Woke(keys.LivenessCheck(JOB)))
    assert harness.noted("lease_lost") == [{"renewed": False}]
    assert harness.sent(JobState) == []
    assert harness.asks_of(keys.LeaseRequest) == []
    harness.handle(Connected())
    assert harness.sent(JobState) == []


def test_a_grant_that_comes_too_late_is_asked_for_again() -> None:
    """It holds from when it was asked for, at the latest."""
    harness = Harness()
    harness.now += 15.0
    harness.receive(REPOSITORY, LeaseGranted(epoch=1, seconds=15.0))
    assert harness.noted("lease_taken") == []
    assert LEASE in harness.asks
    harness.lead()
    assert harness.noted("lease_taken") == [{"epoch": 1}]


def test_a_higher_epoch_ends_the_lease_once() -> None:
    """Its repetition must not end the lease that was taken meanwhile."""
    harness = Harness()
    harness.lead(epoch=1)
    harness.receive(REPOSITORY, StaleEpoch(epoch=2))
    assert LEASE in harness.asks
    harness.lead(epoch=3)
    harness.receive(REPOSITORY, StaleEpoch(epoch=2))
    assert harness.last == []
    harness.submit(job_file())
    assert harness.asked(keys.JobStorage(JOB), StoreJob).epoch == 3


def test_a_standby_does_not_lose_a_lease() -> None:
    """It only learns of the epoch."""
    harness = Harness()
    harness.receive(REPOSITORY, StaleEpoch(epoch=2))
    assert harness.noted("lease_lost") == []
    harness.receive(REPOSITORY, LeaseGranted(epoch=1, seconds=15.0))
    assert harness.last == []


def test_a_higher_epoch_from_a_node_is_checked_with_the_repository() -> None:
    """A node may be wrong; only the repository ends a lease."""
    harness = Harness()
    harness.begin_round()
    harness.receive(A, StaleEpoch(epoch=2**40))
    assert LEASE in harness.asks
    assert keys.RoundOpening(JOB) in harness.asks
    harness.receive(REPOSITORY, LeaseGranted(epoch=1, seconds=15.0))
    harness.receive(COLLECTOR, StaleEpoch(epoch=1))
    assert harness.last == []
    assert keys.RoundOpening(JOB) in harness.asks


def test_a_new_epoch_loads_the_jobs_again() -> None:
    """What is known under the old one may be out of date."""
    harness = Harness()
    harness.begin_round()
    harness.wait(5.0)
    harness.receive(REPOSITORY, LeaseGranted(epoch=2, seconds=15.0))
    assert harness.asks_of() == [keys.JobListing]
    harness.receive(REPOSITORY, JobsListed(jobs=(JOB,)))
    assert harness.asked(keys.JobLoading(JOB), LoadJob).epoch == 2


def test_a_job_is_loaded_once() -> None:
    """However often it is listed, and whatever is repeated."""
    harness = Harness()
    harness.begin()
    harness.receive(REPOSITORY, JobsListed(jobs=(JOB,)))
    harness.receive(REPOSITORY, loaded())
    assert harness.last == []
    assert keys.JobLoading(JOB) not in harness.asks
    assert len(harness.noted("job_started")) == 1


def test_messages_about_unknown_jobs_are_ignored() -> None:
    """And timers of ended jobs."""
    harness = Harness()
    harness.lead()
    harness.receive(REPOSITORY, PlanStored(job="job-9", task=1))
    harness.receive(REPOSITORY, object())
    harness.receive(A, object())
    harness.handle(Stopping())
    assert harness.last == []
    harness.receive(REPOSITORY, EvaluationStored(job="job-9", round=1))
    assert harness.asks == {}


def test_job_states_are_announced_again_on_every_connection() -> None:
    """A broker may have lost what it retained."""
    harness = Harness()
    harness.begin()
    harness.handle(Connected())
    assert harness.state().phase == "accepted"
    assert harness.state().job == JOB


def test_pending_requests_are_answered_by_the_next_leader() -> None:
    """A request is held again when the lease is lost, and decided under the next lease."""
    harness = Harness()
    harness.lead()
    harness.submit(job_file())
    harness.wait(5.0)
    harness.receive(REPOSITORY, LeaseHeld(holder="controller.2", seconds=8.0))
    assert keys.JobStorage(JOB) not in harness.asks
    harness.wait(8.0)
    harness.lead(epoch=3)
    assert harness.asked(keys.JobStorage(JOB), StoreJob).epoch == 3
    harness.receive(REPOSITORY, accepted())
    assert harness.answer()["accepted"]


def test_a_controller_announces_no_facts() -> None:
    """Its presence is enough."""
    harness = Harness()
    assert harness.core.facts() is None
    assert harness.core.progress() == 0.0


def test_heartbeats_of_all_nodes_are_received() -> None:
    """It keeps an agent in the fleet, and a round open."""
    harness = Harness()
    plan = harness.begin_round()
    harness.wait(20.0)
    assert harness.asks_of(keys.TrainingRequest, keys.RoundOpening, keys.LeaseRequest) == []
    harness.receive(COLLECTOR, committed(plan))
    assert {A, B} <= set(plan.cohort)
    assert REPLY is not None
