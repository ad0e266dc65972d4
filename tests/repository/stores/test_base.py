"""Guarantees of every store; see fedbus_repository.stores.base."""

import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from fedbus.errors import StoreError, TransferError
from fedbus.simulation.oracle import check_records
from fedbus.wire.blobs import blob_ref_of
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.files import MissingBlobError
from fedbus_repository.stores.records import (
    HistoryEntry,
    JobEnd,
    Lease,
    ModelView,
    Origin,
    StaleLease,
    StoredJob,
    StoreRefusal,
    Version,
)
from tests.repository.conftest import Clock, Open, ReplaceBlob
from tests.repository.harness import (
    AGENTS,
    AT,
    CONTROLLER,
    FEDAVG,
    FEDAVGM,
    FILE,
    JOB,
    MODEL,
    begin,
    commit_next,
    commit_state,
    contributor,
    load,
    momentum,
    plan_next,
    plan_of,
    push,
    push_of,
    put,
    record_of,
    spec,
    state_after,
    weights,
)

OTHER = "controller.2"


# ── the lease ─────────────────────────────────────────────────────────────────────────────────────


def test_a_free_lease_goes_to_who_asks_first(store: Store) -> None:
    """A new cluster need not wait for anyone."""
    granted = Lease(holder=CONTROLLER, incarnation=7, epoch=1)
    assert store.take_lease(CONTROLLER, 7) == granted
    assert store.take_lease(CONTROLLER, 7) == granted
    assert store.take_lease(OTHER, 8) == granted


def test_a_restarted_holder_has_it_at_once_with_the_next_epoch(store: Store) -> None:
    """What its earlier life may still be saying is refused from then on."""
    store.take_lease(CONTROLLER, 7)
    assert store.take_lease(CONTROLLER, 9).epoch == 2


def test_another_has_it_only_once_its_epoch_has_expired(store: Store) -> None:
    """Of two that saw the same lease expire, one gets it."""
    store.take_lease(CONTROLLER, 7)
    assert store.take_lease(OTHER, 8, expired=1) == Lease(holder=OTHER, incarnation=8, epoch=2)
    assert store.take_lease(CONTROLLER, 7, expired=1).holder == OTHER


def test_the_epoch_outlives_the_process(reopen: Open) -> None:
    """It fences off earlier controllers, so it must never decrease."""
    reopen().take_lease(CONTROLLER, 7)
    assert reopen().take_lease(CONTROLLER, 9).epoch == 2


def test_a_lower_epoch_is_refused_everywhere(store: Store) -> None:
    """A controller that lost its lease changes nothing, and learns why."""
    job = begin(store)
    store.take_lease(CONTROLLER, 1)
    store.take_lease(CONTROLLER, 2)
    stale = StaleLease(2)
    assert store.store_job(1, JOB, MODEL, b"{}") == stale
    assert store.store_plan(1, plan_of(job)) == stale
    assert store.store_evaluation(1, JOB, 1, {}) == stale
    assert store.end_job(1, JOB, "failed", "") == stale
    assert store.list_jobs(1) == stale
    assert store.load_job(1, JOB) == stale
    assert load(store) == job


# ── jobs ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_job_is_accepted_again_with_the_same_secret(store: Store) -> None:
    """A controller that asks twice has not received the first answer."""
    first = begin(store)
    assert len(first.secret) == 32
    assert store.store_job(0, JOB, MODEL, b"{}") == first


def test_each_job_has_a_secret_of_its_own(store: Store) -> None:
    """One job's chance says nothing about another's."""
    assert begin(store).secret != begin(store, "faces-1", "faces").secret


def test_other_bytes_under_a_jobs_name_are_refused(store: Store) -> None:
    """A job cannot be replaced by submitting another under its id."""
    job = begin(store)
    answer = store.store_job(0, JOB, MODEL, b'{"num_rounds": 2}')
    assert answer == StoreRefusal(
        f"the id 'digits-1' belongs to a job that was submitted at {AT} and is running, "
        "with another job file: num_rounds is 2 here and left out there; choose another id",
        key="training_id",
    )
    assert load(store) == job


def test_an_equal_file_is_the_same_job_however_it_is_written(store: Store) -> None:
    """A shell drops a newline, a program sorts keys."""
    push(store)
    file = b'{"training_id": "j", "model_name": "digits", "num_rounds": 2}\n'
    same = b'{"num_rounds":"2","model_name":"digits", "round": {"agents": 2}}'
    job = store.store_job(0, "j", MODEL, file)
    assert store.store_job(0, "j", MODEL, same) == job
    other = store.store_job(0, "j", MODEL, file.replace(b"2", b"9"))
    assert isinstance(other, StoreRefusal)
    assert other.reason == (
        f"the id 'j' belongs to a job that was submitted at {AT} and is running, with another "
        "job file: num_rounds is 9 here and 2 there; choose another id"
    )
    store.end_job(0, "j", "failed", "")
    again = store.store_job(0, "j", MODEL, b'{"training_id": "j"}')
    assert isinstance(again, StoreRefusal)
    assert "and has failed, with another job file: model_name is left out here" in again.reason
    assert again.reason.endswith("or `fedbus job submit --again`, which takes the next one")


ORIGIN = Origin(digest="0" * 64, redelivered=False, seconds=120.0)
AGAIN = replace(ORIGIN, redelivered=True)


def submit(store: Store, job: str, origin: Origin = ORIGIN, epoch: int = 0) -> str:
    """Submit the file without an id under a proposed one; return the id that it has."""
    seen = store.load_job(epoch, job, origin)
    stored = store.store_job(epoch, job, MODEL, b"{}", origin)
    assert isinstance(stored, StoredJob)
    assert isinstance(seen, StoreRefusal) or seen == stored
    return stored.job


def finish(store: Store, job: str, epoch: int = 0) -> None:
    """End a job, so that its model is free for another one."""
    assert isinstance(store.end_job(epoch, job, "finished", ""), JobEnd)


def test_what_comes_again_from_the_same_sender_soon_is_the_same_job(
    reopen: Open, clock: Clock
) -> None:
    """A standby, or the next life of a controller, proposes another id."""
    store = reopen()
    push(store)
    assert submit(store, "a") == "a"
    finish(store, "a")
    clock.wait(120.0)
    store = reopen()
    assert submit(store, "b") == "a"
    assert submit(store, "c", replace(ORIGIN, digest="1" * 64)) == "c"
    finish(store, "c")
    clock.wait(1.0)
    assert submit(store, "d") == "d"  # meant twice
    assert submit(store, "e") == "d"  # the newest counts


def test_what_is_delivered_again_is_the_same_job_whenever_it_comes(
    store: Store, clock: Clock
) -> None:
    """Its controller died between the insert and the acknowledgement, and was away for days."""
    push(store)
    submit(store, "a", epoch=1)
    clock.wait(86400.0)
    assert submit(store, "b", AGAIN, epoch=2) == "a"
    store.end_job(0, "a", "finished", "")
    assert submit(store, "b", AGAIN, epoch=3) == "a"
    assert submit(store, "c", epoch=3) == "c"


@pytest.mark.parametrize("shown", ["plan", "end"])
@pytest.mark.parametrize("redelivered", [False, True], ids=["first time", "redelivered"])
def test_what_was_acknowledged_is_not_taken_for_a_job_of_long_ago(
    store: Store, clock: Clock, shown: str, *, redelivered: bool
) -> None:
    """A file that is published every night is a job every night, whatever dies meanwhile."""
    push(store)
    if redelivered:
        submit(store, "a", epoch=1)
        clock.wait(500.0)
        submit(store, "b", AGAIN, epoch=2)
    else:
        submit(store, "a", epoch=2)
    if shown == "plan":
        store.store_plan(2, plan_of(load(store, "a")))
    finish(store, "a", epoch=3 if shown == "plan" else 2)
    clock.wait(86400.0)
    assert submit(store, "c", AGAIN, epoch=3) == "c"


def test_a_standby_takes_what_runs_for_its_own_copy_after_a_long_outage(
    store: Store, clock: Clock
) -> None:
    """The repository died with the leader's answer unsent, and the standby's copy is its first."""
    push(store)
    submit(store, "a", epoch=1)
    clock.wait(3600.0)
    assert submit(store, "b", epoch=2) == "a"
    store.store_plan(1, plan_of(load(store, "a")))
    refused = store.store_job(2, "b", MODEL, b"{}", ORIGIN)
    assert isinstance(refused, StoreRefusal)
    assert "being trained by job 'a'" in refused.reason


def test_a_clock_that_was_put_back_makes_no_second_job_and_hides_none(
    store: Store, clock: Clock
) -> None:
    """A board without a battery starts in the past until it has asked for the time."""
    push(store)
    submit(store, "a")
    finish(store, "a")
    clock.wait(-60.0)
    assert submit(store, "b") == "a"
    clock.wait(-3600.0)
    assert submit(store, "b") == "b"


def test_a_stale_controller_learns_nothing_of_an_origin(store: Store) -> None:
    """Its epoch is compared first, as everywhere."""
    push(store)
    submit(store, "a")
    store.take_lease(CONTROLLER, 1)
    store.take_lease(CONTROLLER, 2)
    assert store.store_job(1, "b", MODEL, b"{}", AGAIN) == StaleLease(2)
    assert store.load_job(1, "b", AGAIN) == StaleLease(2)


def test_a_forgotten_job_is_listed_no_more_and_keeps_its_id(store: Store) -> None:
    """Its rounds are in the trail, and name it: another job must never be taken for it."""
    begin(store)
    commit_next(store, 1.0)
    refused = store.forget_job(0, JOB)
    assert isinstance(refused, StoreRefusal)
    assert "is running; cancel it" in refused.reason
    store.end_job(0, JOB, "finished", "done")
    assert store.list_jobs(0) == (JOB,)
    forgotten = store.forget_job(0, JOB)
    assert isinstance(forgotten, StoredJob)
    assert store.forget_job(0, JOB) == load(store) == replace(forgotten, forgotten=True)
    assert store.list_jobs(0) == ()
    assert [each.version.job for each in store.history()] == [None, JOB]
    assert isinstance(store.store_job(0, JOB, MODEL, b"[]"), StoreRefusal)
    assert isinstance(store.forget_job(0, "other"), StoreRefusal)


def test_a_job_without_a_model_hears_which_there_are(store: Store) -> None:
    """The sentence says how to mend it."""
    none = store.store_job(0, JOB, MODEL, b"{}")
    assert none == StoreRefusal(
        "no model named 'digits'; known: none yet; push one with `fedbus models push`",
        key="model_name",
    )
    push(store)
    assert "known: digits;" in str(store.store_job(0, "faces-1", "faces", b"{}"))


def test_a_model_has_one_running_job(store: Store) -> None:
    """Two jobs would take turns at being each other's wrong base."""
    begin(store)
    answer = store.store_job(0, "digits-2", MODEL, b"{}")
    assert isinstance(answer, StoreRefusal)
    assert "being trained by job 'digits-1'" in answer.reason
    store.end_job(0, JOB, "finished", "")
    assert isinstance(store.store_job(0, "digits-2", MODEL, b"{}"), StoredJob)


def test_jobs_are_listed_the_running_ones_first(store: Store) -> None:
    """A restarted controller goes on with these, and announces the others as they ended."""
    begin(store)
    begin(store, "faces-1", "faces")
    assert store.list_jobs(0) == (JOB, "faces-1")
    store.end_job(0, JOB, "failed", "")
    assert store.list_jobs(0) == ("faces-1", JOB)


def test_the_first_end_of_a_job_holds(store: Store) -> None:
    """A cancel that comes after the last round does not undo it."""
    begin(store)
    ended = JobEnd(job=JOB, phase="finished", reason="all rounds are done")
    assert store.end_job(0, JOB, "finished", "all rounds are done") == ended
    assert store.end_job(0, JOB, "cancelled", "by a user") == ended
    assert load(store).ended == ended


def test_an_unknown_job_is_refused(store: Store) -> None:
    """A controller whose repository was emptied can fail its jobs with a reason."""
    plan = replace(plan_of(begin(store)), job="faces-1")
    refused = StoreRefusal("no job named 'faces-1' in this repository")
    assert store.load_job(0, "faces-1") == refused
    assert store.store_plan(0, plan) == refused
    assert store.store_evaluation(0, "faces-1", 1, {}) == refused
    assert store.end_job(0, "faces-1", "failed", "") == refused
    assert store.check_commit(record_of(plan)) == refused
    assert store.look_up("faces-1", AGENTS[0], 1) == "unknown"


def test_a_job_is_loaded_with_all_it_needs_to_go_on(reopen: Open) -> None:
    """Everything a killed controller knew is here, and survives this process too."""
    begin(reopen())
    store = reopen()
    done = commit_next(store, 1.0)
    plan = plan_next(store)
    store.store_evaluation(0, JOB, 1, {"accuracy": 0.5})
    job = load(reopen())
    assert (job.rounds, job.plan, job.base.version) == (1, plan, 1)
    assert job.latest == replace(
        done.version, metrics={"loss": 1.0, "accuracy": 0.5}, evaluated=True
    )


# ── plans ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_plan_is_stored_once_and_again(store: Store) -> None:
    """Journaling is repeated until it is confirmed."""
    plan = plan_of(begin(store))
    assert store.store_plan(0, plan) == plan
    assert store.store_plan(0, plan) == plan
    assert load(store).plan == plan


def test_a_task_never_names_two_plans(store: Store) -> None:
    """(job, agent, task) names at most one update."""
    job = begin(store)
    plan = plan_of(job, task=2)
    store.store_plan(0, plan)
    assert store.store_plan(0, replace(plan, quorum=2)) is None
    assert store.store_plan(0, plan_of(job, task=1)) is None
    assert load(store).plan == plan


def test_an_ended_job_takes_no_plan(store: Store) -> None:
    """The controller hears how it ended instead."""
    plan = plan_of(begin(store))
    ended = store.end_job(0, JOB, "cancelled", "by a user")
    assert store.store_plan(0, plan) == ended


# ── rounds and versions ───────────────────────────────────────────────────────────────────────────


def test_a_round_makes_the_next_version(store: Store) -> None:
    """A round is true once it is inserted, with the version it made."""
    begin(store)
    done = commit_next(store, 1.0)
    assert done.version == store.latest()[0]
    assert (done.version.version, done.version.parent) == (2, 1)
    assert (done.version.job, done.version.round, done.version.contributors) == (JOB, 1, 3)
    assert load(store).rounds == 1
    assert check_records(store).rounds == 1


def test_the_second_commit_of_a_round_gets_the_firsts_answer(store: Store) -> None:
    """Two collectors can waste work, never disagree."""
    begin(store)
    plan = plan_next(store)
    first = store.commit(record_of(plan), put(store, weights(1)))
    second = record_of(plan, AGENTS[:1])
    assert store.check_commit(second) == first
    assert store.commit(second, blob_ref_of(weights(2))) == first
    assert [each.version.version for each in store.history()] == [1, 2]


def test_a_blob_is_received_although_the_folder_of_uploads_was_deleted(
    store: Store, store_kind: str, tmp_path: Path
) -> None:
    """Work goes on without a restart."""
    folder = tmp_path / "data"
    shutil.rmtree(folder / "uploads" if store_kind == "sqlite" else folder)
    assert store.holds(put(store, weights(4.0)))


def test_a_commit_needs_its_weights(store: Store) -> None:
    """A version whose weights are not here cannot become the truth."""
    begin(store)
    record = record_of(plan_next(store))
    with pytest.raises(StoreError, match="is missing: restore"):
        store.commit(record, blob_ref_of(weights(1)))
    assert load(store).rounds == 0


def test_of_many_who_commit_a_round_at_once_one_does(store: Store) -> None:
    """Methods are called by worker threads, several at a time."""
    begin(store)
    plan = plan_next(store)

    def commit(number: int) -> object:
        blob = put(store, weights(number % 3))
        return store.commit(record_of(plan, AGENTS[: 1 + number % 3]), blob)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(commit, range(24)))
    assert all(answer == answers[0] for answer in answers)
    assert check_records(store).rounds == 1


def test_an_update_never_counts_twice_in_a_job(store: Store) -> None:
    """Not in one round, not in two."""
    begin(store)
    commit_next(store, 1.0)
    plan = plan_next(store)
    blob = put(store, weights(2))
    repeated = (contributor(AGENTS[0], plan.task), contributor(AGENTS[0], plan.task))
    again = (contributor(AGENTS[0], plan.task - 1),)
    for contributors in (repeated, again):
        answer = store.commit(record_of(plan, contributors=contributors), blob)
        assert isinstance(answer, StoreRefusal)
    assert load(store).rounds == 1


def test_an_ended_job_takes_no_commit(store: Store) -> None:
    """A cancelled job stays cancelled, although agents may still train."""
    begin(store)
    record = record_of(plan_next(store))
    store.end_job(0, JOB, "cancelled", "")
    assert store.commit(record, put(store, weights(1))) == StoreRefusal(
        "job 'digits-1' has ended: cancelled"
    )


def test_an_evaluation_is_merged_into_the_versions_metrics(store: Store) -> None:
    """A repeated evaluation changes nothing; the record itself never changes."""
    begin(store)
    done = commit_next(store, 1.0)
    for _ in range(2):
        version = store.store_evaluation(0, JOB, 1, {"accuracy": 0.9})
    assert isinstance(version, Version)
    assert version.metrics == {"loss": 1.0, "accuracy": 0.9}
    assert version.evaluated
    assert store.check_commit(record_of(plan_next(store), round=1)) == HistoryEntry(
        version=version, record=done.record
    )


def test_a_round_that_is_not_committed_has_no_evaluation(store: Store) -> None:
    """There is nothing to evaluate yet."""
    begin(store)
    assert store.store_evaluation(0, JOB, 1, {"accuracy": 0.9}) is None


def test_looking_up_an_update_says_what_became_of_it(store: Store) -> None:
    """An agent learns when it may forget."""
    job = begin(store)
    assert store.look_up(JOB, AGENTS[0], 1) == "unknown"
    store.store_plan(0, plan := plan_of(job))
    assert store.look_up(JOB, AGENTS[0], 1) == "unknown"
    store.commit(record_of(plan, AGENTS[:1]), put(store, weights(1)))
    assert store.look_up(JOB, AGENTS[0], 1) == "stored"
    assert store.look_up(JOB, AGENTS[1], 1) == "drop"
    assert store.look_up(JOB, AGENTS[1], 2) == "unknown"
    store.end_job(0, JOB, "finished", "")
    assert store.look_up(JOB, AGENTS[0], 1) == "stored"
    assert store.look_up(JOB, AGENTS[1], 2) == "drop"


# ── what a strategy keeps ─────────────────────────────────────────────────────────────────────────


def test_a_state_is_stored_with_its_version_and_loaded_with_the_job(reopen: Open) -> None:
    """Any controller and any collector can go on with it."""
    begin(reopen())
    store = reopen()
    assert load(store).state is None
    commit_state(store, 1.0)
    done = commit_state(store, 2.0)
    store = reopen()
    kept = state_after(2, momentum(2.0))
    assert load(store).state == done.version.state == kept
    assert done.version.strategy == FEDAVGM
    assert list(store.history())[-1] == done
    assert check_records(store).rounds == 2


def test_a_commit_needs_the_arrays_of_its_state(store: Store) -> None:
    """A version whose state is not here could not be trained further."""
    begin(store)
    record = record_of(plan_next(store), strategy=FEDAVGM, state=state_after(1, momentum(1.0)))
    blob = put(store, weights(1.0))
    with pytest.raises(StoreError, match="is missing: restore"):
        store.commit(record, blob)
    assert load(store).rounds == 0
    put(store, momentum(1.0))
    assert isinstance(store.commit(record, blob), HistoryEntry)


def test_the_second_commit_of_a_round_leaves_the_state_of_the_first(store: Store) -> None:
    """Two collectors may compute other arrays; one of them is true."""
    begin(store)
    plan = plan_next(store)
    for value in (1.0, 2.0):
        put(store, momentum(value))
        record = record_of(plan, strategy=FEDAVGM, state=state_after(1, momentum(value)))
        done = store.commit(record, put(store, weights(value)))
        assert isinstance(done, HistoryEntry)
    assert load(store).state == state_after(1, momentum(1.0))


def test_a_plan_without_the_state_of_its_base_is_refused(store: Store) -> None:
    """A controller that lost it, or has one from elsewhere, must load the job again."""
    begin(store)
    commit_state(store, 1.0)
    job = load(store)
    for wrong in (None, state_after(2, momentum(1.0)), state_after(1, momentum(3.0))):
        refused = store.store_plan(0, plan_of(job, state=wrong))
        assert isinstance(refused, StoreRefusal)
        assert "where version 2 is stored with a strategy's state after 1 round" in refused.reason
    assert load(store).plan == job.plan
    assert store.store_plan(0, plan_of(job)) == plan_of(job)


def test_a_job_keeps_its_strategy(store: Store) -> None:
    """From its first round on."""
    begin(store)
    commit_state(store, 1.0)
    record = record_of(plan_next(store), state=state_after(2))
    refused = store.commit(record, put(store, weights(2.0)))
    assert isinstance(refused, StoreRefusal)
    assert refused.reason.startswith("job 'digits-1' has used another strategy")


def test_states_are_deleted_with_the_weights_of_their_versions(reopen: Open) -> None:
    """They are as large; the newest one is never deleted."""
    begin(reopen())
    store = reopen()
    for at, accuracy in enumerate([0.1, 0.9, 0.2, 0.3, 0.4, 0.5], start=1):
        commit_state(store, float(at))
        store.store_evaluation(0, JOB, at, {"accuracy": accuracy})
        check_records(store)
    held = [store.holds(blob_ref_of(momentum(float(at)))) for at in range(1, 7)]
    assert held == [False, True, False, True, True, True]
    store = reopen()
    assert load(store).state == state_after(6, momentum(6.0))
    assert check_records(store).versions == 7


def test_arrays_that_two_states_share_stay_for_the_other(store: Store) -> None:
    """So do those that are the weights of another model, byte for byte."""
    begin(store)
    for value in (1.0, 2.0, 1.0, 4.0, 5.0, 6.0):
        commit_state(store, value)
        check_records(store)
    assert not store.holds(blob_ref_of(momentum(1.0)))
    assert store.holds(blob_ref_of(momentum(6.0)))
    store.delete_unreferenced((blob_ref_of(momentum(6.0)),))
    assert store.holds(blob_ref_of(momentum(6.0)))


def test_a_job_continues_the_state_of_the_job_before_it(reopen: Open) -> None:
    """In its first round, and after a restart in the middle of it."""
    begin(reopen())
    store = reopen()
    commit_state(store, 1.0)
    finish(store, JOB)
    new = begin(store, "digits-2", continued=FEDAVGM)
    kept = state_after(1, momentum(1.0))
    assert (new.rounds, new.state, new.continues_state) == (0, kept, True)
    store = reopen()
    assert load(store, "digits-2") == new
    assert store.store_job(0, "digits-2", MODEL, b"{}", continued=FEDAVGM) == new
    done = commit_state(store, 2.0, "digits-2")
    assert done.version.state == state_after(2, momentum(2.0))
    assert load(reopen(), "digits-2").state == done.version.state


def test_a_job_begins_without_a_state_unless_it_continues_one(store: Store) -> None:
    """Momenta of an old job would pull a new one along."""
    begin(store)
    commit_state(store, 1.0)
    finish(store, JOB)
    assert begin(store, "digits-2").state is None
    commit_state(store, 2.0, "digits-2")
    assert load(store, "digits-2").state == state_after(1, momentum(2.0))


def test_a_state_of_another_strategy_is_not_continued(store: Store) -> None:
    """The key of the job file is named, and nothing is stored."""
    push(store)
    for continued in (FEDAVG, FEDAVGM):
        refused = store.store_job(0, JOB, MODEL, b"{}", continued=continued)
        assert isinstance(refused, StoreRefusal)
        assert refused.key == "strategy.continue_state"
    begin(store)
    commit_state(store, 1.0)
    finish(store, JOB)
    refused = store.store_job(0, "digits-2", MODEL, b"{}", continued=FEDAVG)
    assert isinstance(refused, StoreRefusal)
    assert "made by another strategy: id is fedavg here and fedavgm there" in refused.reason
    assert isinstance(store.load_job(0, "digits-2"), StoreRefusal)


@pytest.mark.parametrize("damage", [b"", None], ids=["shorter", "missing"])
def test_a_lost_state_stops_the_job_and_says_which_file_to_restore(
    reopen: Open, replace_blob: ReplaceBlob, damage: bytes | None
) -> None:
    """The last version stays readable; once the file is back, the job goes on."""
    begin(reopen())
    store = reopen()
    done = commit_state(store, 1.0)
    blob = blob_ref_of(momentum(1.0))
    replace_blob(blob, damage)
    store = reopen()
    plan = plan_of(load(store))
    missing = rf"of version 2 of model 'digits' is missing: restore .*{blob.digest} \({blob.size}"
    with pytest.raises(MissingBlobError, match=missing):
        store.store_plan(0, plan)
    assert store.holds(done.version.weights)
    put(store, momentum(1.0))
    assert store.store_plan(0, plan) == plan


# ── models ────────────────────────────────────────────────────────────────────────────────────────


def test_pushed_versions_follow_each_other(store: Store) -> None:
    """The same as the latest is the latest; an older one again is a new version."""
    first = push(store, 0)
    assert push(store, 0) == first
    second = push(store, 1)
    assert (first.version, first.parent, second.version, second.parent) == (1, None, 2, 1)
    assert push(store, 0).version == 3
    assert check_records(store).versions == 3


def test_a_model_in_training_takes_no_push(store: Store) -> None:
    """The next commit would start from a version that is not the latest any more."""
    begin(store)
    blob, stated = put(store, weights(5)), put(store, spec())
    assert isinstance(store.check_push(push_of(stated, blob)), StoreRefusal)
    assert isinstance(store.push(push_of(stated, blob), ()), StoreRefusal)
    store.end_job(0, JOB, "finished", "")
    assert store.check_push(push_of(stated, blob)) is None


def test_a_trained_model_is_not_pushed_over_without_reset(store: Store) -> None:
    """A factory draws other first weights each time: they would be served at once."""
    job = begin(store)
    store.store_plan(0, plan := plan_of(job))
    store.commit(record_of(plan, AGENTS[:1]), put(store, weights(1)))
    store.end_job(0, JOB, "finished", "")
    blob, stated = put(store, weights(5)), put(store, spec())
    files = (put(store, FILE),)
    for answer in (
        store.check_push(push_of(stated, blob)),
        store.push(push_of(stated, blob), files),
    ):
        assert isinstance(answer, StoreRefusal)
        assert answer.reason.startswith(
            f"model {MODEL!r} has been trained: version 2 is of round 1 of job {JOB!r} "
            "(loss 1); the pushed version would replace it in training and inference"
        )
    assert isinstance(store.push(push_of(stated, put(store, weights(1))), files), Version)
    assert store.check_push(push_of(stated, blob, reset=True)) is None
    reset = store.push(push_of(stated, blob, reset=True), files)
    assert isinstance(reset, Version)
    assert (reset.version, reset.parent, reset.job) == (3, 2, None)
    assert push(store, 7).version == 4  # over what was pushed, not trained


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_push_needs_all_its_blobs(store: Store, missing: int) -> None:
    """A spec without its file would be found out on the agents."""
    contents = [spec(), weights(0), FILE]
    for at, content in enumerate(contents):
        if at != missing:
            put(store, content)
    blob_refs = [blob_ref_of(content) for content in contents]
    with pytest.raises(StoreError):
        store.push(push_of(blob_refs[0], blob_refs[1]), blob_refs[2:])
    assert store.latest() == ()


def test_the_latest_of_every_model_is_listed(store: Store) -> None:
    """By name, so that a list reads the same each time."""
    faces, _, digits = push(store, 0, "faces"), push(store, 0), push(store, 1)
    assert store.latest() == (digits, faces)


def test_a_version_is_shown_with_the_end_of_the_trail(store: Store) -> None:
    """Newest first, and no more of it than was asked for."""
    versions = [push(store, value) for value in range(4)]
    newest, first = store.show(MODEL, None, 2), store.show(MODEL, 1, 1)
    assert isinstance(newest, ModelView)
    assert isinstance(first, ModelView)
    assert (newest.version, newest.history) == (versions[3], (versions[3], versions[2]))
    assert (first.version, first.history) == (versions[0], (versions[3],))
    older = store.show(MODEL, None, 9, 3)
    assert isinstance(older, ModelView)
    assert older.history == (versions[1], versions[0])
    assert older.versions == 4
    assert store.show(MODEL, 9, 1) == StoreRefusal("model 'digits' has versions 1 to 4, no 9")
    assert isinstance(store.show("faces", None, 1), StoreRefusal)


def test_it_is_said_which_weights_are_kept_and_why(store: Store) -> None:
    """A user who wants weights need not try every version."""
    begin(store)
    for value, accuracy in enumerate((0.5, 0.9, 0.7, 0.6, 0.8)):
        done = commit_next(store, float(value + 1))
        store.store_evaluation(2**52, JOB, done.version.round, {"accuracy": accuracy})
    shown = store.show(MODEL, 2, 1)
    assert isinstance(shown, ModelView)
    kept = ((6, "newest"), (5, "newest"), (4, "newest"), (3, "best"), (1, "pushed"))
    assert (shown.kept, shown.best) == (kept, 3)
    assert not shown.version.kept


def test_everything_is_stamped_with_the_time_it_was_stored(store: Store) -> None:
    """A person asks when a job began and ended, and how old a version is."""
    job = begin(store)
    version = commit_next(store, 1.0).version
    ended = store.end_job(0, JOB, "finished", "done")
    assert isinstance(ended, JobEnd)
    times = (job.submitted, job.base.at, version.at, ended.at, load(store).submitted)
    assert set(times) == {AT}
    assert [each.version.at for each in store.history()] == [AT, AT]


# ── blobs ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_kept_blob_can_be_read(reopen: Open) -> None:
    """In any slice, and after a restart."""
    push(reopen())
    source = reopen().open_blob(blob_ref_of(FILE).digest)
    assert source is not None
    assert (source.size, source.read(4, 9)) == (len(FILE), FILE[4:13])


def test_a_blob_that_is_not_here_is_none(store: Store) -> None:
    """Its fetch is then answered with not found."""
    assert store.open_blob("0" * 64) is None
    assert not store.holds(blob_ref_of(b"never seen"))


def test_a_blob_is_kept_only_if_it_is_what_it_should_be(store: Store) -> None:
    """Whatever came over the bus, a digest names its content here."""
    for content in (b"other", b"sho", b"too long for it"):
        upload = store.upload(blob_ref_of(b"right"))
        upload.write(0, content)
        with pytest.raises(TransferError, match="expected a blob of digest"):
            upload.keep()
    assert not store.holds(blob_ref_of(b"right"))


def test_an_upload_can_be_discarded_at_any_time(store: Store) -> None:
    """Late chunks of a discarded upload change nothing."""
    upload = store.upload(blob_ref_of(FILE))
    upload.write(0, FILE)
    assert upload.read(4, 9) == FILE[4:13]
    upload.discard()
    upload.discard()
    upload.write(0, FILE)
    assert not store.holds(blob_ref_of(FILE))


BLOCK_BYTES = 200_000


@pytest.mark.parametrize("size", [0, 1, 3_000_001])
def test_content_of_an_unknown_digest_becomes_the_blob_of_its_digest(
    store: Store, size: int
) -> None:
    """It is written once; what was reserved beyond it is released."""
    content = random.Random(size).randbytes(size)
    for _ in range(2):  # the second one replaces an equal blob
        upload = store.receive(size + 4096)
        for start in range(0, size, BLOCK_BYTES):
            upload.write(start, content[start : start + BLOCK_BYTES])
        upload.keep()
        upload.discard()
        assert upload.blob_ref == blob_ref_of(content)
        assert store.holds(blob_ref_of(content))
    source = store.open_blob(upload.blob_ref.digest)
    assert source is not None
    assert source.size == size
    wrong = store.receive(10, blob_ref_of(b"right").digest)
    wrong.write(0, b"wrong")
    with pytest.raises(TransferError, match="expected a blob of digest"):
        wrong.keep()
    other = store.receive(10)
    other.write(0, b"finished")
    assert other.finish() == blob_ref_of(b"finished")
    assert other.blob_ref == blob_ref_of(b"finished")
    assert not store.holds(blob_ref_of(b"finished"))
    other.keep()
    assert store.holds(blob_ref_of(b"finished"))
    other = store.receive(10)
    other.write(0, b"given up")
    other.discard()
    assert not store.holds(blob_ref_of(b"given up"))


def test_the_last_versions_keep_their_weights(reopen: Open) -> None:
    """And the best one, and what a person pushed; records, specs and files are never deleted."""
    begin(reopen())
    store = reopen()
    for at, accuracy in enumerate([0.1, 0.9, 0.2, 0.3, 0.4, 0.5], start=1):
        commit_next(store, float(at))
        store.store_evaluation(0, JOB, at, {"accuracy": accuracy})
    kept = {each.version.version: each.version.kept for each in store.history()}
    assert kept == {1: True, 2: False, 3: True, 4: False, 5: True, 6: True, 7: True}
    assert not store.holds(blob_ref_of(weights(1.0)))
    assert check_records(store).versions == 7
    assert check_records(reopen()).versions == 7


def test_weights_that_two_versions_share_stay_for_the_other(store: Store) -> None:
    """A blob goes when nothing names it any more."""
    begin(store)
    for value in (1.0, 2.0, 1.0, 4.0, 5.0, 6.0):
        commit_next(store, value)
        check_records(store)
    assert not store.holds(blob_ref_of(weights(1.0)))


def test_what_nothing_names_is_released(store: Store) -> None:
    """A refused commit leaves nothing behind; what is named stays."""
    push(store)
    extra = put(store, weights(9))
    store.delete_unreferenced((extra, blob_ref_of(FILE), blob_ref_of(weights(0))))
    assert not store.holds(extra)
    assert store.holds(blob_ref_of(FILE))
    assert store.holds(blob_ref_of(weights(0)))


def test_what_was_never_committed_is_swept_at_the_next_start(reopen: Open, tmp_path: Path) -> None:
    """A killed repository leaves unfinished uploads, and at most a blob that nothing names."""
    push(reopen())
    store = reopen()
    extra = put(store, weights(9))
    unfinished = store.upload(blob_ref_of(weights(8)))
    unfinished.write(0, b"half")
    store = reopen()
    assert not store.holds(extra)
    assert list((tmp_path / "data").glob("**/*upload*/*")) == []
    assert list((tmp_path / "data").glob("*.upload")) == []
    assert check_records(store).versions == 1
