"""A round on its way to being true."""

from dataclasses import replace

import pytest

from fedbus.core.actions import Note
from fedbus.core.events import Received
from fedbus.simulation.oracle import check_trail
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.messages import Commit, CommitRefused, Committed, LookedUp, LookUp
from fedbus.wire.round_records import Plan
from fedbus_repository.stores.base import Store
from tests.repository.stand import (
    AGENTS,
    COLLECTOR,
    JOB,
    MODEL,
    Stand,
    begin,
    load,
    plan_next,
    put,
    record_of,
    ref_of,
    update,
    weights,
)

OTHER = "collector.2"


@pytest.fixture
def plan(store: Store) -> Plan:
    """A round that is planned."""
    begin(store)
    return plan_next(store)


def commit_of(plan: Plan, content: bytes = weights(1.0)) -> Commit:
    """A collector's wish."""
    return Commit(record=record_of(plan), weights=blob_ref_of(content))


def test_a_round_is_fetched_kept_and_announced(stand: Stand, store: Store, plan: Plan) -> None:
    """Committed is said once it cannot be lost any more."""
    stand.serve(weights(1.0))
    commit = commit_of(plan)
    answers = stand.hear(COLLECTOR, commit)
    version = store.latest()[0]
    facts = {"model": MODEL, "version": 2, "job": JOB, "round": 1}
    assert stand.notes == [Note("version_made", facts)]
    assert answers == [Committed(version=ref_of(version), record=commit.record)]
    latest = stand.latest[-1]
    assert (latest.version, latest.digest, latest.job, latest.round) == (
        2,
        commit.weights.digest,
        JOB,
        1,
    )
    assert check_trail(store).rounds == 1


def test_after_the_fetch_it_takes_one_call(stand: Stand, plan: Plan) -> None:
    """Between the last byte and the answer nothing else waits for a thread."""
    stand.tell(Received(COLLECTOR, commit_of(plan)))
    stand.run()
    [key] = stand.fetching
    stand.arrive(key, weights(1.0))
    stand.run()
    assert not stand.runs
    assert isinstance(stand.said[-1][1], Committed)


def test_a_commit_that_is_repeated_is_fetched_once(stand: Stand, plan: Plan) -> None:
    """Its collector asks until it is answered, and a large model takes a while."""
    commit = commit_of(plan)
    assert stand.hear(COLLECTOR, commit) == []
    assert stand.hear(COLLECTOR, commit) == []
    assert len(stand.fetching) == 1
    stand.serve(weights(1.0))
    stand.work()
    assert len(stand.said) == 1
    assert isinstance(stand.hear(COLLECTOR, commit)[0], Committed)
    assert not stand.fetching


def test_the_second_collector_gets_the_firsts_record(
    stand: Stand, store: Store, plan: Plan
) -> None:
    """Even if both were fetched; what the second brought is not kept."""
    first = commit_of(plan)
    second = replace(commit_of(plan, weights(2.0)), record=record_of(plan, AGENTS[:1]))
    stand.hear(COLLECTOR, first)
    stand.hear(OTHER, second)
    stand.serve(weights(1.0), weights(2.0))
    stand.work()
    assert [to for to, _ in stand.said] == [COLLECTOR, OTHER]
    assert stand.said[0][1] == stand.said[1][1]
    assert stand.said[1][1].record == first.record
    assert not store.holds(second.weights)


def test_a_restarted_collector_that_folded_otherwise_begins_anew(
    stand: Stand, store: Store, plan: Plan
) -> None:
    """What its earlier life offered is gone with it."""
    stand.hear(COLLECTOR, commit_of(plan, weights(1.0)))
    again = commit_of(plan, weights(2.0))
    assert stand.hear(COLLECTOR, again) == []
    assert not stand.fetching
    stand.serve(weights(2.0))
    assert stand.hear(COLLECTOR, again)[0].version.weights == again.weights
    assert check_trail(store).rounds == 1


def test_a_round_that_does_not_fit_is_refused_unfetched(stand: Stand, store: Store) -> None:
    """Its reason goes into the round's end, and to whoever runs this service."""
    begin(store)
    plan = plan_next(store)
    store.end_job(0, JOB, "cancelled", "")
    reason = "job 'digits-1' has ended: cancelled"
    assert stand.hear(COLLECTOR, commit_of(plan)) == [
        CommitRefused(job=JOB, round=1, task=1, reason=reason)
    ]
    assert stand.notes[-1].event == "commit_refused"
    assert stand.notes[-1].facts["reason"] == reason


def test_a_job_that_ends_meanwhile_takes_no_commit(stand: Stand, store: Store, plan: Plan) -> None:
    """It was weighed before, and is weighed again when it is inserted."""
    stand.hear(COLLECTOR, commit_of(plan))
    store.end_job(0, JOB, "cancelled", "")
    stand.serve(weights(1.0))
    stand.work()
    assert isinstance(stand.said[-1][1], CommitRefused)
    assert not store.holds(blob_ref_of(weights(1.0)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (update(1.0), "a delta blob where a plain one belongs"),
        (b"x" * len(weights(1.0)), "not a weights blob"),
    ],
    ids=["a delta", "nonsense"],
)
def test_weights_that_do_not_fit_the_model_are_refused(
    stand: Stand, store: Store, plan: Plan, content: bytes, reason: str
) -> None:
    """Nobody could load such a version."""
    stand.serve(content)
    [answer] = stand.hear(COLLECTOR, commit_of(plan, content))
    assert reason in answer.reason
    assert load(store).rounds == 0
    assert not store.holds(blob_ref_of(content))


def test_other_bytes_than_promised_are_refused(stand: Stand, store: Store, plan: Plan) -> None:
    """A digest names its content."""
    stand.hear(COLLECTOR, commit_of(plan))
    [key] = stand.fetching
    stand.arrive(key, weights(2.0))
    stand.work()
    assert "expected a blob of digest" in stand.said[-1][1].reason
    assert load(store).rounds == 0


def test_weights_that_do_not_come_are_not_answered(stand: Stand, plan: Plan) -> None:
    """If the collector lives it asks again; if not, nobody listens."""
    commit = commit_of(plan)
    stand.hear(COLLECTOR, commit)
    [key] = stand.fetching
    stand.lose(key, "collector.1 does not hold it")
    stand.work()
    assert stand.said == []
    assert stand.notes[-1].facts["reason"] == "collector.1 does not hold it"
    stand.serve(weights(1.0))
    assert isinstance(stand.hear(COLLECTOR, commit)[0], Committed)


def test_weights_that_are_here_already_are_not_fetched(stand: Stand, plan: Plan) -> None:
    """A round that changes nothing costs nothing."""
    assert isinstance(stand.hear(COLLECTOR, commit_of(plan, weights(0.0)))[0], Committed)


def test_an_update_is_looked_up(stand: Stand, store: Store, plan: Plan) -> None:
    """For a collector that has forgotten, or never knew."""
    question = LookUp(job=JOB, agent=AGENTS[0], task=1)
    unknown = LookedUp(job=JOB, agent=AGENTS[0], task=1, verdict="unknown")
    assert stand.hear(COLLECTOR, question) == [unknown]
    store.commit(record_of(plan), put(store, weights(1.0)))
    assert stand.hear(COLLECTOR, question) == [replace(unknown, verdict="stored")]
