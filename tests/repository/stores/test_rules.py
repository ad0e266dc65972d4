"""Validation rules and their messages."""

from dataclasses import replace

import pytest

from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.round_records import Plan, RoundRecord
from fedbus_repository.stores import rules
from fedbus_repository.stores.records import JobEnd, Version
from fedbus_repository.stores.rules import CommitContext, commit_fault, verdict
from tests.repository.harness import (
    AGENTS,
    JOB,
    MODEL,
    contributor,
    record_of,
    ref_of,
    spec,
    weights,
)

LATEST = Version(
    model=MODEL, version=4, parent=3, weights=blob_ref_of(weights(0)), spec=blob_ref_of(spec())
)
PLAN = Plan(
    job=JOB,
    round=3,
    task=5,
    base=ref_of(LATEST),
    collector="collector.1",
    cohort=AGENTS,
    quorum=1,
    deadline_seconds=60.0,
)
CONTEXT = CommitContext(model=MODEL, ended=None, plan=PLAN, latest=LATEST, counted=())
RECORD = record_of(PLAN)
WEIGHTS = blob_ref_of(weights(1))


def test_a_round_as_it_was_planned_may_be_committed() -> None:
    """Nothing stands against it."""
    assert commit_fault(RECORD, WEIGHTS, CONTEXT) is None


@pytest.mark.parametrize(
    ("context", "reason"),
    [
        (
            replace(CONTEXT, ended=JobEnd(job=JOB, phase="cancelled", reason="")),
            "job 'digits-1' has ended: cancelled",
        ),
        (replace(CONTEXT, model="faces"), "job 'digits-1' trains model 'faces', not 'digits'"),
        (replace(CONTEXT, plan=None), "no round of job 'digits-1' is planned"),
        (
            replace(CONTEXT, plan=replace(PLAN, task=6)),
            "expected the planned round 3 as task 6, got round 3 as task 5",
        ),
        (
            replace(CONTEXT, latest=replace(LATEST, version=5)),
            "expected the latest version 5 of model 'digits' as parent, got version 4",
        ),
        (
            replace(CONTEXT, latest=replace(LATEST, spec=blob_ref_of(b"another"))),
            "expected the spec of version 4, got another one",
        ),
        (
            replace(CONTEXT, plan=replace(PLAN, cohort=AGENTS[1:])),
            "agent.a is not in the cohort of task 5",
        ),
        (
            replace(CONTEXT, counted={(AGENTS[1], 5)}),
            "agent.b's update for task 5 already counts in job 'digits-1'",
        ),
    ],
    ids=["ended", "model", "unplanned", "planned again", "parent", "spec", "cohort", "counted"],
)
def test_a_round_that_does_not_fit_its_job_is_refused(context: CommitContext, reason: str) -> None:
    """Each with a sentence for the round's record."""
    assert commit_fault(RECORD, WEIGHTS, context) == reason


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (
            replace(RECORD, contributors=(contributor(AGENTS[0], 4),)),
            "agent.a's update is for task 4, not for task 5",
        ),
        (
            replace(RECORD, contributors=(contributor(AGENTS[0], 5),) * 2),
            "agent.a is counted twice",
        ),
    ],
    ids=["other task", "twice"],
)
def test_a_round_that_counts_wrongly_is_refused(record: RoundRecord, reason: str) -> None:
    """An update counts once, for the task it answers."""
    assert commit_fault(record, WEIGHTS, CONTEXT) == reason


def test_weights_of_another_size_are_refused_before_they_are_fetched() -> None:
    """One layout makes one size, give or take a header."""
    reason = commit_fault(RECORD, replace(WEIGHTS, size=2**40), CONTEXT)
    assert reason == (
        f"expected weights of {LATEST.weights.size} bytes, as version 4 has, got 1099511627776"
    )


def test_a_counted_update_is_stored_whatever_came_after() -> None:
    """The end of a job takes nothing back."""
    assert verdict(1, counted=True, ended=True, plan=None, rounds=0) == "stored"


@pytest.mark.parametrize(
    ("task", "plan", "rounds", "expected"),
    [
        (1, None, 0, "unknown"),
        (4, PLAN, 2, "drop"),
        (5, PLAN, 2, "unknown"),
        (5, PLAN, 3, "drop"),
        (6, PLAN, 3, "unknown"),
    ],
    ids=["nothing planned", "planned again", "under way", "committed without it", "not heard of"],
)
def test_an_update_that_does_not_count_yet(
    task: int, plan: Plan | None, rounds: int, expected: str
) -> None:
    """It is dropped only once it never will."""
    assert verdict(task, counted=False, ended=False, plan=plan, rounds=rounds) == expected


def test_an_ended_job_wants_no_update() -> None:
    """Whatever its number."""
    assert verdict(6, counted=False, ended=True, plan=PLAN, rounds=2) == "drop"


def test_a_score_goes_over_a_rounds_own_metrics() -> None:
    """Users ask for the held-out metrics; and a message holds 64."""
    own = {f"m{i}": 0.0 for i in range(64)} | {"accuracy": 0.1}
    evaluation = rules.merge_metrics(own, {"accuracy": 0.9, "loss": 0.2})
    assert (evaluation["accuracy"], evaluation["loss"], len(evaluation)) == (0.9, 0.2, 64)
    told_apart = {"accuracy": 0.9, "train_loss": 0.4}
    assert rules.merge_metrics({"loss": 0.4, "train_loss": 0.5}, told_apart) == told_apart
