"""Requests of controllers about jobs."""

from dataclasses import replace
from typing import Any

import pytest

from fedbus.core.events import Received, RunFailed, Stopping
from fedbus.errors import StoreError
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.documents import ModelNeeds
from fedbus.wire.messages import (
    Acceptance,
    EndJob,
    EvaluationStored,
    ForgetJob,
    JobEnded,
    JobFault,
    JobFileRefused,
    JobForgotten,
    JobLoaded,
    JobsListed,
    ListJobs,
    LoadJob,
    PlanStored,
    StaleEpoch,
    StoreEvaluation,
    StoreJob,
    StorePlan,
    TakeLease,
)
from fedbus.wire.strategies import Strategy
from fedbus_repository.core import RepositoryCore
from fedbus_repository.stores.base import Store
from tests.repository.conftest import Clock, ReplaceBlob
from tests.repository.harness import (
    AT,
    CONTROLLER,
    FEDAVG,
    FEDAVGM,
    JOB,
    MODEL,
    REPOSITORY,
    Harness,
    begin,
    commit_next,
    commit_state,
    load,
    momentum,
    plan_next,
    plan_of,
    push,
    put,
    record_of,
    ref_of,
    weights,
)

STORE_JOB = StoreJob(epoch=0, job=JOB, model=MODEL, file=b"{}")


def test_a_job_is_accepted_with_its_secret_and_base(harness: Harness, store: Store) -> None:
    """The same question has the same answer."""
    version = push(store)
    first = harness.receive(CONTROLLER, STORE_JOB)
    [loaded] = harness.receive(CONTROLLER, LoadJob(epoch=0, job=JOB))
    assert (loaded.secret, loaded.latest) == (load(store).secret, ref_of(version))
    assert (loaded.submitted, loaded.acceptance) == (AT, None)
    assert first == [replace(loaded, acceptance=Acceptance())]
    again = harness.receive(CONTROLLER, STORE_JOB)
    assert again == [replace(loaded, acceptance=Acceptance(known=True))]


def test_a_job_that_is_known_is_answered_with_how_it_stands(harness: Harness, store: Store) -> None:
    """The answer to a finished job that is sent again has its end: nothing will run."""
    begin(store)
    commit_next(store, 1.0)
    store.end_job(0, JOB, "finished", "all rounds are done")
    [again] = harness.receive(CONTROLLER, STORE_JOB)
    assert (again.acceptance.known, again.phase, again.reason) == (
        True,
        "finished",
        "all rounds are done",
    )
    assert (again.rounds, again.metrics, again.ended) == (1, {"loss": 1.0}, AT)


def test_a_job_that_trained_nothing_has_no_figures(harness: Harness, store: Store) -> None:
    """Its model's latest version has those of the job before it."""
    begin(store)
    commit_next(store, 1.0)
    store.end_job(0, JOB, "finished", "all rounds are done")
    other = replace(STORE_JOB, job="other")
    harness.receive(CONTROLLER, other)
    [loaded] = harness.receive(CONTROLLER, LoadJob(epoch=0, job="other"))
    assert (loaded.rounds, loaded.latest.version, loaded.metrics) == (0, 2, {})
    [known] = harness.receive(CONTROLLER, other)
    assert (known.acceptance.known, known.metrics) == (True, {})
    store.end_job(0, "other", "failed", "no agent trains")
    [ended] = harness.receive(CONTROLLER, LoadJob(epoch=0, job="other"))
    assert (ended.phase, ended.metrics) == ("failed", {})
    [first] = harness.receive(CONTROLLER, LoadJob(epoch=0, job=JOB))
    assert (first.rounds, first.metrics) == (1, {"loss": 1.0})


def test_a_job_that_has_another_id_than_was_proposed_is_named_with_both(
    harness: Harness, store: Store, clock: Clock
) -> None:
    """So that the controller knows whom it answers; its file was judged when it came."""
    push(store)
    first = replace(STORE_JOB, origin="0" * 64)
    [stored] = harness.receive(CONTROLLER, first)
    assert (stored.job, stored.acceptance) == (JOB, Acceptance())
    again = replace(first, job="proposed")
    [answer] = harness.receive("controller.2", again)
    acceptance = Acceptance(known=True, proposed="proposed")
    assert answer == replace(stored, acceptance=acceptance)
    store.end_job(0, JOB, "finished", "")
    clock.wait(120.5)
    [other] = harness.receive(CONTROLLER, replace(again, redelivered=True))
    assert (other.job, other.acceptance) == ("proposed", Acceptance())


def test_a_submission_is_known_again_for_at_least_eight_leases(store: Store, clock: Clock) -> None:
    """A standby that waits longer for a lease must not make a second job when it has it."""
    harness = Harness(RepositoryCore(REPOSITORY, store, lease_seconds=60.0))
    harness.connect()
    push(store)
    asked = replace(STORE_JOB, origin="0" * 64)
    harness.receive(CONTROLLER, asked)
    store.end_job(0, JOB, "finished", "")
    clock.wait(480.0)
    assert harness.receive(CONTROLLER, replace(asked, job="second"))[0].job == JOB
    clock.wait(1.0)
    assert harness.receive(CONTROLLER, replace(asked, job="second"))[0].job == "second"


def test_an_ended_job_is_forgotten(harness: Harness, store: Store) -> None:
    """The answer says how many rounds are to be cleared; a job that runs is refused."""
    begin(store)
    commit_next(store, 1.0)
    forget = ForgetJob(epoch=0, job=JOB)
    [refused] = harness.receive(CONTROLLER, forget)
    assert (refused.job, "is running" in refused.reason) == (JOB, True)
    store.end_job(0, JOB, "failed", "")
    assert harness.receive(CONTROLLER, forget) == [JobForgotten(job=JOB, rounds=1)]
    assert harness.receive(CONTROLLER, ListJobs(epoch=0)) == [JobsListed(jobs=())]
    (loaded,) = harness.receive(CONTROLLER, LoadJob(epoch=0, job=JOB))
    assert (loaded.phase, loaded.forgotten) == ("failed", True)


def test_a_job_without_a_model_is_refused(harness: Harness) -> None:
    """With the sentence that says what to do."""
    [answer] = harness.receive(CONTROLLER, STORE_JOB)
    assert answer.job == JOB
    assert answer.faults[0].key == "model_name"
    assert "fedbus models push" in answer.faults[0].problem


def test_another_job_file_and_a_model_in_training_are_refused_at_their_keys(
    harness: Harness, store: Store
) -> None:
    """The id is taken in the one case; the model is busy in the other."""
    begin(store)
    taken = StoreJob(epoch=0, job=JOB, model=MODEL, file=b"another")
    busy = StoreJob(epoch=0, job="other", model=MODEL, file=b"another")
    keys = [harness.receive(CONTROLLER, asked)[0].faults[0].key for asked in (taken, busy)]
    assert keys == ["training_id", "model_name"]


CONTINUES = replace(STORE_JOB, job="digits-2", strategy=FEDAVGM, continue_state=True)


def test_a_job_that_continues_a_state_is_answered_with_it(harness: Harness, store: Store) -> None:
    """So are the next life of its controller, and a plan that has the state."""
    begin(store)
    done = commit_state(store, 1.0)
    store.end_job(0, JOB, "finished", "")
    [first] = harness.receive(CONTROLLER, CONTINUES)
    assert first.state == done.version.state
    [again] = harness.receive(CONTROLLER, CONTINUES)
    [loaded] = harness.receive(CONTROLLER, LoadJob(epoch=0, job="digits-2"))
    assert again.state == loaded.state == done.version.state
    plan = plan_of(load(store, "digits-2"))
    without = replace(plan, state=None)
    [refused] = harness.receive(CONTROLLER, StorePlan(epoch=0, plan=without))
    assert "is stored with a strategy's state after 1 round" in refused.faults[0].problem
    stored = harness.receive(CONTROLLER, StorePlan(epoch=0, plan=plan))
    assert stored == [PlanStored(job="digits-2", task=1)]


def test_a_job_that_does_not_say_so_begins_without_a_state(harness: Harness, store: Store) -> None:
    """Although its strategy is the same."""
    begin(store)
    commit_state(store, 1.0)
    store.end_job(0, JOB, "finished", "")
    [answer] = harness.receive(CONTROLLER, replace(CONTINUES, continue_state=False))
    assert answer.state is None


@pytest.mark.parametrize("strategy", [FEDAVG, None])
def test_a_state_of_another_strategy_is_a_fault_of_its_key(
    harness: Harness, store: Store, strategy: Strategy | None
) -> None:
    """The user learns which parameters differ, and that the key can be left out."""
    begin(store)
    commit_state(store, 1.0)
    store.end_job(0, JOB, "finished", "")
    [refused] = harness.receive(CONTROLLER, replace(CONTINUES, strategy=strategy))
    [fault] = refused.faults
    assert fault.key == "strategy.continue_state"
    assert "leave the key out to begin without a state" in fault.problem


@pytest.mark.parametrize("damage", [b"x" * len(momentum(1.0)), b""], ids=["damaged", "empty"])
def test_a_lost_state_is_a_fault_of_the_job_that_wants_it(
    harness: Harness, store: Store, replace_blob: ReplaceBlob, damage: bytes
) -> None:
    """It says which blob to restore; a job that begins without a state may run."""
    unknown = replace(CONTINUES, model="faces")
    assert "no model named 'faces'" in harness.receive(CONTROLLER, unknown)[0].faults[0].problem
    begin(store)
    commit_state(store, 1.0)
    store.end_job(0, JOB, "finished", "")
    blob = blob_ref_of(momentum(1.0))
    replace_blob(blob, damage)
    [refused] = harness.receive(CONTROLLER, CONTINUES)
    [fault] = refused.faults
    assert fault.key == "strategy.continue_state"
    assert fault.problem == (
        f"what the strategy keeps with version 2, blob {blob.digest} of {blob.size} bytes, is "
        "missing or damaged at the repository"
    )
    [accepted] = harness.receive(CONTROLLER, replace(CONTINUES, continue_state=False))
    assert accepted.acceptance is not None


def test_a_plan_is_confirmed(harness: Harness, store: Store) -> None:
    """Only then are agents asked."""
    plan = plan_of(begin(store))
    assert harness.receive(CONTROLLER, StorePlan(epoch=0, plan=plan)) == [
        PlanStored(job=JOB, task=1)
    ]


def test_an_overtaken_plan_is_not_answered(harness: Harness, store: Store) -> None:
    """A late copy of an old question must not sound like news."""
    job = begin(store)
    harness.receive(CONTROLLER, StorePlan(epoch=0, plan=plan_of(job, task=2)))
    assert harness.receive(CONTROLLER, StorePlan(epoch=0, plan=plan_of(job, task=1))) == []


def test_a_loaded_job_has_the_strategy_of_its_last_round(harness: Harness, store: Store) -> None:
    """Not that of its base, which another job has made."""
    begin(store)
    commit_state(store, 1.0)
    [after] = harness.receive(CONTROLLER, LoadJob(epoch=0, job=JOB))
    assert after.strategy == FEDAVGM
    store.end_job(0, JOB, "finished", "")
    [before] = harness.receive(CONTROLLER, replace(STORE_JOB, job="digits-2"))
    assert before.strategy is None


def test_a_plan_for_a_committed_round_is_refused(harness: Harness, store: Store) -> None:
    """Its collector was killed between the commit and its report; a repeated plan is confirmed."""
    before = plan_of(begin(store))
    assert store.store_plan(0, before) == before
    store.commit(record_of(before), put(store, weights(1.0)))
    again = replace(before, task=2)
    [refused] = harness.receive(CONTROLLER, StorePlan(epoch=0, plan=again))
    assert "round 1, which is committed already" in refused.faults[0].problem
    assert load(store).plan == before
    confirmed = harness.receive(CONTROLLER, StorePlan(epoch=0, plan=before))
    assert confirmed == [PlanStored(job=JOB, task=1)]


def test_an_ended_job_answers_plans_with_its_end(harness: Harness, store: Store) -> None:
    """A controller that missed it learns it here."""
    plan = plan_of(begin(store))
    end = EndJob(epoch=0, job=JOB, phase="finished", reason="all rounds are done")
    ended = JobEnded(job=JOB, phase="finished", reason="all rounds are done", at=AT)
    assert harness.receive(CONTROLLER, end) == [ended]
    assert harness.receive(CONTROLLER, replace(end, phase="cancelled")) == [ended]
    assert harness.receive(CONTROLLER, StorePlan(epoch=0, plan=plan)) == [ended]


def test_jobs_are_listed(harness: Harness, store: Store) -> None:
    """None is an answer too."""
    assert harness.receive(CONTROLLER, ListJobs(epoch=0)) == [JobsListed(jobs=())]
    begin(store)
    assert harness.receive(CONTROLLER, ListJobs(epoch=0)) == [JobsListed(jobs=(JOB,))]


def test_a_job_is_loaded(harness: Harness, store: Store) -> None:
    """All that a new controller needs to go on with it."""
    secret = begin(store).secret
    done = commit_next(store, 1.0)
    plan = plan_next(store)
    assert harness.receive(CONTROLLER, LoadJob(epoch=0, job=JOB)) == [
        JobLoaded(
            job=JOB,
            file=b"{}",
            secret=secret,
            phase="running",
            reason="",
            rounds=1,
            latest=ref_of(done.version),
            metrics={"loss": 1.0},
            plan=plan,
            shared_tensors=2,
            needs=ModelNeeds(architectures=("own", "torch")),
            submitted=AT,
            strategy=FEDAVG,
        )
    ]


def test_an_ended_job_is_loaded_with_its_end(harness: Harness, store: Store) -> None:
    """A controller that was killed at the end announces it after all."""
    begin(store)
    store.end_job(0, JOB, "failed", "no agents")
    [loaded] = harness.receive(CONTROLLER, LoadJob(epoch=0, job=JOB))
    assert (loaded.phase, loaded.reason, loaded.ended) == ("failed", "no agents", AT)


def test_an_evaluation_is_stored_and_announced_with_the_latest_version(
    harness: Harness, store: Store
) -> None:
    """Users see the held-out metrics beside the version that they belong to."""
    begin(store)
    commit_next(store, 1.0)
    harness.connect()
    evaluation = StoreEvaluation(epoch=0, job=JOB, round=1, metrics={"accuracy": 0.9})
    assert harness.receive(CONTROLLER, evaluation) == [EvaluationStored(job=JOB, round=1)]
    assert harness.latest[-1].metrics == {"loss": 1.0, "accuracy": 0.9}
    commit_next(store, 2.0)
    harness.connect()
    before = len(harness.latest)
    assert harness.receive(CONTROLLER, evaluation) == [EvaluationStored(job=JOB, round=1)]
    assert len(harness.latest) == before


def test_an_evaluation_before_its_round_is_not_answered(harness: Harness, store: Store) -> None:
    """It is asked again, and by then the round may be there."""
    begin(store)
    assert harness.receive(CONTROLLER, StoreEvaluation(epoch=0, job=JOB, round=1, metrics={})) == []


def unknown(store: Store) -> list[Any]:
    """All questions about a job that is not here."""
    plan = replace(plan_of(begin(store, "faces-1", "faces")), job=JOB)
    return [
        StorePlan(epoch=0, plan=plan),
        LoadJob(epoch=0, job=JOB),
        StoreEvaluation(epoch=0, job=JOB, round=1, metrics={}),
        EndJob(epoch=0, job=JOB, phase="failed", reason=""),
    ]


def test_an_unknown_job_is_refused(harness: Harness, store: Store) -> None:
    """Whatever is asked about it."""
    problem = f"no job named '{JOB}' in this repository"
    refused = JobFileRefused(job=JOB, faults=(JobFault(key="", problem=problem),))
    for question in unknown(store):
        assert harness.receive(CONTROLLER, question) == [refused]


def test_a_lower_epoch_hears_the_one_that_holds(harness: Harness, store: Store) -> None:
    """Whatever it asks: its lease has passed to another."""
    questions = [STORE_JOB, ListJobs(epoch=0), *unknown(store)]
    for incarnation in (1, 2):
        harness.receive(CONTROLLER, TakeLease(incarnation=incarnation))
    for question in questions:
        assert harness.receive("controller.2", question) == [StaleEpoch(epoch=2)]


def test_a_question_that_is_repeated_meanwhile_is_answered_once(
    harness: Harness, store: Store
) -> None:
    """A slow disk does not make a queue of the same call."""
    push(store)
    for _ in range(3):
        harness.handle(Received(CONTROLLER, STORE_JOB))
    assert len(harness.runs) == 1
    harness.run_all()
    assert len(harness.sent) == 1


def test_a_store_that_fails_is_not_answered_but_noted(harness: Harness) -> None:
    """The controller asks again; the log has the reason for the operator."""
    harness.handle(Received(CONTROLLER, STORE_JOB))
    run = harness.runs.popleft()
    harness.handle(RunFailed(run.key, StoreError("storing job digits-1: no space left")))
    assert harness.sent == []
    [note] = harness.notes
    assert note.event == "request_failed"
    assert note.facts == {
        "request": "StoreJob",
        "of": CONTROLLER,
        "reason": "StoreError: storing job digits-1: no space left",
    }
    assert harness.receive(CONTROLLER, STORE_JOB) != []


@pytest.mark.parametrize("message", ["not ours", None])
def test_what_is_not_for_a_repository_is_ignored(harness: Harness, message: object) -> None:
    """A newer peer may say more; and what is not in the store needs no farewell."""
    assert harness.receive(CONTROLLER, message) == []
    harness.handle(Stopping())
    assert not harness.runs
    assert (harness.core.facts(), harness.core.progress(), harness.core.listens) == (None, 0.0, ())
