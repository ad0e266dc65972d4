"""Agents of a job must agree on the names of classes and inputs; others are left out."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from fedbus.wire.announced_names import abbreviate_names
from fedbus.wire.documents import ModelNeeds
from fedbus.wire.messages import EvaluateTask
from fedbus_controller import keys
from fedbus_controller.rounds.cohort_planning import PATIENCE_SECONDS
from tests.controller.harness import (
    COLLECTOR,
    EVALUATOR,
    A,
    B,
    C,
    Harness,
    committed,
    facts,
    job_file,
    loaded,
)

EVERY = ("cross", "disc", "stripe")
SECOND = ("disc", "stripe")


def harness_with(**classes: Sequence[str]) -> Harness:
    """Introduce agents a, b, c (and an evaluator) with these class names."""
    harness = Harness()
    harness.introduce(COLLECTOR)
    for name, names in classes.items():
        role = "evaluate" if name == "evaluator" else "train"
        harness.introduce_as(f"agent.{name}", facts(role, classes=names))
    return harness


def begin(harness: Harness, needs: ModelNeeds | None = None) -> None:
    """Run a job for two agents."""
    file = job_file(round={"agents": 2, "quorum": 2, "deadline_seconds": 10})
    harness.begin(loaded(file=file, needs=needs), COLLECTOR)


def test_two_agents_with_two_lists_train_nothing_together() -> None:
    """Their job waits, and its reason has both lists: no metric would show the fault."""
    harness = harness_with(a=EVERY, b=SECOND)
    begin(harness)
    harness.wait(PATIENCE_SECONDS + 2)
    assert keys.PlanStorage not in harness.asks_of()
    reason = harness.state_now().reason
    assert reason.endswith(harness.noted("agents_left_out")[0]["reason"])
    assert "agent.a numbers its classes cross, disc, stripe" in reason
    assert "agent.b numbers its classes disc, stripe" in reason
    assert 'set "classes" in the FEDBUS_LOADER_OPTIONS of each' in reason
    harness.introduce_as(B, facts("train", classes=EVERY))
    harness.wait(2)
    assert sorted(harness.planned.cohort) == [A, B]


def test_the_majority_decides_and_the_other_agents_are_named() -> None:
    """One wrong folder does not stop a fleet; the log and the job's state name it."""
    harness = harness_with(a=EVERY, b=SECOND, c=EVERY)
    begin(harness)
    assert sorted(harness.planned.cohort) == [A, C]
    why = (
        "agent.b is left out: it numbers its classes disc, stripe, most agents have cross, disc, "
        'stripe (FEDBUS_LOADER_OPTIONS can name them: "classes")'
    )
    assert harness.noted("agents_left_out") == [{"job": "job-1", "reason": why}]
    harness.open_round()
    assert harness.state().reason == why


def test_a_job_keeps_the_names_of_its_first_round() -> None:
    """Even if its first agents are offline and others have a majority."""
    harness = harness_with(a=EVERY, b=EVERY)
    begin(harness)
    plan = harness.open_round()
    for name in (A, B, C):
        harness.introduce_as(name, facts("train", classes=SECOND))
    harness.receive(COLLECTOR, committed(plan))
    harness.wait(PATIENCE_SECONDS + 2)
    assert "the agents of this job's earlier rounds have cross, disc" in harness.state_now().reason


def test_after_a_restart_the_agents_of_the_last_plan_decide() -> None:
    """The names are not stored; the last cohort is."""
    first = harness_with(a=EVERY, b=EVERY)
    begin(first)
    plan = replace(first.planned, cohort=(A,), quorum=1)
    harness = harness_with(a=EVERY, b=SECOND, c=SECOND)
    file = job_file(round={"agents": 1, "quorum": 1, "deadline_seconds": 10})
    metrics = {"accuracy": 0.5, "train_accuracy": 0.5}
    harness.begin(loaded(file=file, plan=plan, rounds=1, metrics=metrics), COLLECTOR)
    assert harness.planned.cohort == (A,)


def test_the_names_of_a_model_are_those_of_its_agents() -> None:
    """Agents with other names than the model are left out, even if all of them agree."""
    harness = harness_with(a=SECOND, b=SECOND)
    needs = ModelNeeds(architectures=("torch",), classes=abbreviate_names(EVERY))
    begin(harness, needs)
    harness.wait(PATIENCE_SECONDS + 2)
    assert "agent.a is left out: it numbers its classes disc, stripe, the model has cross" in (
        harness.state_now().reason
    )


def test_agents_without_class_names_are_selected() -> None:
    """Plain numbers are allowed: their owner ensures that they mean the same everywhere."""
    harness = harness_with(a=EVERY, b=())
    begin(harness)
    assert sorted(harness.planned.cohort) == [A, B]


@pytest.mark.parametrize("other", [("load", "temp"), ("temp",), ("temp", "place")])
def test_inputs_in_another_order_are_other_inputs(other: tuple[str, ...]) -> None:
    """Data have columns by name, a model has inputs by position."""
    harness = harness_with()
    for name, columns in ((A, ("temp", "load")), (B, other), (C, ("temp", "load"))):
        harness.introduce_as(name, facts("train", classes=EVERY, columns=columns))
    begin(harness)
    assert sorted(harness.planned.cohort) == [A, C]
    (note,) = harness.noted("agents_left_out")
    assert f"it has the inputs {', '.join(other)}, most agents have temp, load" in note["reason"]


def test_an_evaluator_with_other_names_is_not_asked() -> None:
    """Its metrics would be about other classes."""
    harness = harness_with(a=EVERY, b=EVERY, evaluator=SECOND)
    begin(harness)
    plan = harness.open_round()
    harness.receive(COLLECTOR, committed(plan, accuracy=0.5))
    assert harness.sent(EvaluateTask) == []
    assert EVALUATOR in harness.noted("agents_left_out")[-1]["reason"]


def test_long_lists_are_compared_by_their_digest() -> None:
    """Of a thousand names only the last differs."""
    names = [f"class-{number}" for number in range(1000)]
    harness = Harness()
    harness.introduce(COLLECTOR)
    for name, each in ((A, names), (B, [*names[:-1], "other"]), (C, names)):
        own = facts("train", classes=["x"])
        form = {"y": {"data_types": {"categorical": {"classes": abbreviate_names(each)}}}}
        harness.introduce_as(name, replace(own, format=form))
    begin(harness)
    assert sorted(harness.planned.cohort) == [A, C]
    assert "class-0, class-1" in harness.noted("agents_left_out")[0]["reason"]
    assert "and 992 more" in harness.noted("agents_left_out")[0]["reason"]
