"""Validation rules and their messages."""

import pytest

from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.round_records import Plan
from fedbus_repository.stores import rules
from fedbus_repository.stores.records import Version
from fedbus_repository.stores.rules import verdict
from tests.repository.harness import (
    AGENTS,
    JOB,
    MODEL,
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
