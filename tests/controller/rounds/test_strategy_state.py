"""A strategy's state: from the record of one round into the plan and the tasks of the next."""

from dataclasses import replace
from typing import Any

from fedbus.jobs import parse
from fedbus.strategies.resolution import resolve_job
from fedbus.wire.blobs import BlobRef
from fedbus.wire.messages import JobLoaded, OpenRound, RoundEnded, TrainTask
from fedbus.wire.round_records import Plan
from fedbus.wire.strategies import StrategyState
from fedbus_controller import keys
from tests.controller.harness import (
    COLLECTOR,
    JOB,
    OTHER_COLLECTOR,
    A,
    Harness,
    committed,
    failed,
    job_file,
    loaded,
)

SCAFFOLD = {"id": "scaffold", "population": 9}
FIRST = StrategyState(rounds=1, arrays=BlobRef(digest="a" * 64, size=80))
SECOND = StrategyState(rounds=2, arrays=BlobRef(digest="b" * 64, size=80))


def job(strategy: object = SCAFFOLD, **changes: Any) -> JobLoaded:  # noqa: ANN401 - any field
    """Build the repository's answer about a job of this strategy."""
    return loaded(file=job_file(strategy=strategy, num_rounds=5), **changes)


def with_state(plan: Plan, state: StrategyState) -> RoundEnded:
    """Build the report of a committed round that leaves a state."""
    ended = committed(plan)
    assert ended.record is not None
    return replace(ended, record=replace(ended.record, state=state))


def test_the_first_round_has_no_state() -> None:
    """All arrays are zeros then; agents learn which arrays there are."""
    harness = Harness()
    plan = harness.begin_round(job())
    assert plan.state is None
    task = harness.asked(keys.TrainingRequest(JOB, A), TrainTask)
    assert (task.state, task.state_names, task.sections) == (None, ("control",), ("control",))
    assert task.facts == ("steps",)
    opened = harness.sent_to(COLLECTOR, OpenRound)
    assert opened.strategy == resolve_job(parse(job_file(strategy=SCAFFOLD)))
    assert task.params.objective == opened.strategy.objective


def test_the_state_of_a_round_is_that_of_the_next_plan() -> None:
    """The collector and the agents get it, whichever collector made it."""
    harness = Harness()
    plan = harness.begin_round(job())
    harness.receive(COLLECTOR, with_state(plan, FIRST))
    assert harness.planned.state == FIRST
    second = harness.open_round()
    assert harness.sent_to(COLLECTOR, OpenRound).plan == second
    assert harness.asked(keys.TrainingRequest(JOB, A), TrainTask).state == FIRST.arrays
    harness.receive(COLLECTOR, with_state(second, SECOND))
    assert harness.planned.state == SECOND


def test_agents_do_not_get_a_state_that_their_objective_does_not_read() -> None:
    """FedAdam's is twice the model."""
    harness = Harness()
    plan = harness.begin_round(job("fedadam"))
    harness.receive(COLLECTOR, with_state(plan, FIRST))
    assert harness.open_round().state == FIRST
    task = harness.asked(keys.TrainingRequest(JOB, A), TrainTask)
    assert (task.state, task.state_names) == (None, ())


def test_a_round_that_is_planned_again_has_the_same_state() -> None:
    """After a failure, and for another collector: the base is the same version."""
    harness = Harness()
    harness.begin(job(state=FIRST), COLLECTOR, A, "agent.b", "agent.c")
    plan = harness.open_round()
    assert plan.state == FIRST
    harness.receive(COLLECTOR, failed(plan))
    harness.wait(1.0)
    again = harness.open_round()
    assert (again.task, again.state) == (plan.task + 1, FIRST)
    harness.introduce(OTHER_COLLECTOR)
    harness.silent.add(COLLECTOR)
    harness.wait(8.0)
    assert harness.planned.collector == OTHER_COLLECTOR
    assert harness.planned.state == FIRST


def test_a_restarted_controller_asks_for_the_round_with_the_stored_state() -> None:
    """The plan has it; the repository compares it with the version's."""
    before, after = Harness(), Harness()
    plan = before.begin_round(job(state=FIRST))
    after.begin(job(state=FIRST, plan=plan))
    assert after.sent_to(COLLECTOR, OpenRound).plan.state == FIRST
    assert after.asked(keys.TrainingRequest(JOB, A), TrainTask).state == FIRST.arrays


def test_the_jobs_document_names_its_strategy() -> None:
    """By the id of the strategy, however the file spells it; also after the job's end."""
    harness = Harness()
    harness.begin_round(job("FedAdam"))
    assert harness.state_now().strategy == "fedadam"
    ended = Harness()
    ended.begin(job("FedAdam", phase="finished", rounds=5))
    assert ended.state().strategy == "fedadam"


def test_a_job_whose_strategy_is_gone_ends_without_a_name_of_it() -> None:
    """Its plug-in was uninstalled while the controller was away."""
    harness = Harness()
    harness.begin(job("uninstalled"))
    state = harness.state()
    assert (state.phase, state.strategy, state.num_rounds) == ("failed", None, 5)
    assert "no strategy or aggregator named 'uninstalled'" in state.reason
