"""Federated evaluation of a version on held-out data, and the stop condition."""

from dataclasses import replace

import pytest

from fedbus.wire.documents import JobState, RoundState
from fedbus.wire.energy import EnergyUsed
from fedbus.wire.messages import EndJob, Evaluated, EvaluationStored, JobEnded, StoreEvaluation
from fedbus.wire.round_traffic import RoundTraffic
from fedbus_controller import keys
from tests.controller.harness import (
    COLLECTOR,
    EVALUATOR,
    JOB,
    REPOSITORY,
    A,
    B,
    C,
    Harness,
    committed,
    job_file,
    loaded,
    readable,
    version,
)

OTHER_EVALUATOR = "agent.other-evaluator"


def score(
    accuracy: float, examples: int = 10, number: int = 2, reason: str = "", name: str = "accuracy"
) -> Evaluated:
    """Build an evaluator's result."""
    metrics = {} if reason else {name: accuracy}
    return Evaluated(job=JOB, version=number, examples=examples, metrics=metrics, reason=reason)


class HarnessWithEvaluators(Harness):
    """A harness with two evaluators."""

    def introduce(self, *nodes: str, incarnation: int = 1, online: bool = True) -> None:
        super().introduce(*nodes, incarnation=incarnation, online=online)
        if OTHER_EVALUATOR in nodes:
            self.incarnations[OTHER_EVALUATOR] = incarnation
            self._introduce_evaluator(OTHER_EVALUATOR, incarnation)

    def _introduce_evaluator(self, node: str, incarnation: int) -> None:
        from fedbus.wire.documents import NodeState
        from tests.controller.harness import facts

        self.receive(
            node,
            NodeState(node=node, incarnation=incarnation, online=True, agent=facts("evaluate")),
        )


def evaluating(
    file: bytes = job_file(), *evaluators: str, **metrics: float
) -> HarnessWithEvaluators:
    """Run a job until its first version is being evaluated."""
    harness = HarnessWithEvaluators()
    fleet = (COLLECTOR, A, B, C, *(evaluators or (EVALUATOR,)))
    plan = harness.begin_round(loaded(file=file), *fleet)
    harness.receive(COLLECTOR, committed(plan, **metrics))
    return harness


def test_a_committed_version_is_evaluated_before_the_next_round() -> None:
    """The metrics of training stand beside the held-out ones, under another name."""
    harness = evaluating(job_file(), loss=0.5)
    assert harness.evaluation().version.version == 2
    assert keys.PlanStorage(JOB) not in harness.asks
    harness.receive(EVALUATOR, score(0.75))
    store = harness.asked(keys.EvaluationStorage(JOB, 1), StoreEvaluation)
    assert store.metrics == {"accuracy": 0.75, "train_loss": 0.5}
    (state,) = harness.sent(RoundState)
    assert state.metrics == store.metrics
    assert (state.version, state.examples, len(state.contributors)) == (2, 10, 2)
    assert list(state.refusals.values()) == ["no update by the deadline"]
    assert harness.planned.round == 2
    harness.receive(REPOSITORY, EvaluationStored(job=JOB, round=1))
    assert keys.EvaluationStorage(JOB, 1) not in harness.asks


def test_only_the_first_result_of_each_asked_evaluator_counts() -> None:
    """Other results are late, repeated, or of another agent."""
    harness = evaluating(job_file(), EVALUATOR, OTHER_EVALUATOR)
    for sender, said in ((A, score(0.1)), (EVALUATOR, score(0.1, number=1))):
        harness.receive(sender, said)
        assert harness.last == []
    harness.receive(EVALUATOR, score(0.5, examples=10))
    harness.receive(EVALUATOR, score(1.0, examples=99))
    assert harness.last == []
    harness.receive(OTHER_EVALUATOR, score(1.0, examples=30))
    assert harness.asked(keys.EvaluationStorage(JOB, 1), StoreEvaluation).metrics == {
        "accuracy": 0.875
    }
    harness.receive(EVALUATOR, score(0.0))
    assert harness.last == []


def test_a_reached_target_finishes_the_job() -> None:
    """The evaluation is stored, even while the job ends and after."""
    harness = evaluating(job_file(stopping_target={"accuracy": 0.7}))
    harness.receive(EVALUATOR, score(0.75))
    end = harness.asked(keys.JobEnding(JOB), EndJob)
    assert end.reason == "accuracy 0.75, at least 0.7 was asked"
    harness.receive(REPOSITORY, JobEnded(job=JOB, phase="finished", reason=end.reason))
    assert keys.EvaluationStorage(JOB, 1) in harness.asks
    assert keys.StopRequest(JOB, EVALUATOR) in harness.asks
    assert harness.sent(JobState)[-1].metrics == {"accuracy": 0.75}


def test_training_metrics_reach_no_target_if_there_is_an_evaluator() -> None:
    """Even if the evaluator fails: a model that fits its training data may be bad."""
    harness = evaluating(job_file(stopping_target={"accuracy": 0.7}), accuracy=0.99)
    harness.receive(EVALUATOR, score(0, reason="out of memory"))
    assert harness.noted("evaluation_failed")[0]["reason"] == "out of memory"
    assert harness.noted("round_finished")[0]["metrics"] == {"train_accuracy": 0.99}
    assert harness.asks_of(keys.LeaseRequest, keys.JobListing) == [keys.PlanStorage]


def test_without_an_evaluator_training_metrics_decide() -> None:
    """They end the job; its reason and its document name them as such."""
    harness = Harness()
    plan = harness.begin_round(loaded(file=job_file(stopping_target={"accuracy": 0.7})))
    harness.receive(COLLECTOR, committed(plan, accuracy=0.99))
    assert harness.asked(keys.JobEnding(JOB), EndJob).reason == (
        "train_accuracy 0.99, at least 0.7 was asked of accuracy; no evaluator measured it, so "
        "the metric is of the agents' training data"
    )
    (state,) = harness.sent(RoundState)
    assert state.metrics == {"train_accuracy": 0.99}
    assert keys.EvaluationStorage(JOB, 1) not in harness.asks


def test_an_evaluator_that_vanishes_does_not_hold_the_job() -> None:
    """Once it is lost, the next round is planned."""
    harness = evaluating(job_file(), EVALUATOR, OTHER_EVALUATOR)
    harness.silent.add(EVALUATOR)
    harness.wait(4.0)
    harness.receive(OTHER_EVALUATOR, score(0.5))
    assert keys.PlanStorage(JOB) not in harness.asks
    harness.wait(4.0)
    assert keys.EvaluationRequest(JOB, EVALUATOR) not in harness.asks
    assert harness.planned.round == 2


def test_an_evaluator_that_takes_too_long_does_not_hold_the_job() -> None:
    """It sends heartbeats, and no result."""
    harness = evaluating()
    harness.wait(59.0)
    assert keys.EvaluationRequest(JOB, EVALUATOR) in harness.asks
    harness.wait(2.0)
    assert keys.EvaluationRequest(JOB, EVALUATOR) not in harness.asks
    assert harness.planned.round == 2


def test_evaluators_have_as_much_time_as_agents() -> None:
    """A job that gives its agents an hour gives its evaluators one."""
    harness = evaluating(job_file(round={"agents": 3, "quorum": 2, "deadline_seconds": 3600}))
    harness.wait(3500.0)
    assert keys.EvaluationRequest(JOB, EVALUATOR) in harness.asks


def test_a_version_without_evaluation_is_evaluated_after_a_restart() -> None:
    """Evaluators get some time to introduce themselves first."""
    harness = Harness()
    job = loaded(rounds=1, latest=version(2), metrics={"train_accuracy": 0.99})
    harness.begin(job, COLLECTOR, A, B, C)
    assert keys.PlanStorage(JOB) not in harness.asks
    harness.receive(A, score(0.1))
    assert harness.last == []
    harness.wait(1.0)
    harness.introduce(EVALUATOR)
    harness.wait(5.0)
    assert harness.evaluation().version == version(2)
    harness.receive(EVALUATOR, score(0.5))
    store = harness.asked(keys.EvaluationStorage(JOB, 1), StoreEvaluation)
    assert store.metrics == {"accuracy": 0.5, "train_accuracy": 0.99}
    assert harness.sent(RoundState) == []  # its record is the repository's
    assert harness.planned.round == 2


def test_a_late_timer_of_an_evaluated_round_does_nothing() -> None:
    """The next one runs already."""
    harness = evaluating()
    harness.receive(EVALUATOR, score(0.5))
    assert keys.EvaluationDeadline(JOB) not in harness.timers


@pytest.mark.parametrize(
    "metrics",
    [
        {f"m{number}": 1.0 for number in range(64)},
        {"m" * 64: 1.0},
        {"huge": 1.7e308},
        {"event": 1.0, "job": 2.0, "at": 3.0},
    ],
    ids=["many", "long", "huge", "named like facts"],
)
def test_metrics_of_any_size_fit_into_messages(
    metrics: dict[str, float],
) -> None:
    """Too many metrics, too long a name, sums beyond the largest float."""
    harness = evaluating(job_file(), EVALUATOR, OTHER_EVALUATOR, **metrics)
    for evaluator in (EVALUATOR, OTHER_EVALUATOR):
        said = Evaluated(job=JOB, version=2, examples=2**52, metrics=metrics, reason="")
        harness.receive(evaluator, said)
    assert readable(harness.asked(keys.EvaluationStorage(JOB, 1), StoreEvaluation))
    assert all(readable(state) for state in harness.sent(JobState))
    assert all(readable(state) for state in harness.sent(RoundState))


@pytest.mark.parametrize("accuracy", [1.3, -0.2])
def test_an_impossible_metric_does_not_end_the_job(accuracy: float) -> None:
    """An accuracy lies between 0 and 1; the evaluator measured something else."""
    harness = evaluating(job_file(stopping_target={"accuracy": 0.7}))
    harness.receive(EVALUATOR, score(accuracy))
    (failed,) = harness.noted("evaluation_failed")
    assert failed["reason"] == f"accuracy: expected a fraction, 0 to 1, got {accuracy}"
    assert keys.JobEnding(JOB) not in harness.asks
    assert harness.planned.round == 2


def test_the_energy_of_rounds_and_evaluations_is_published() -> None:
    """And added up for the job; a controller that takes it over begins with what is stored."""
    trained = EnergyUsed(joules={"training": 30.0}, grams=2.0)
    scored = EnergyUsed(joules={"evaluation": 4.0}, grams=0.5)
    harness = HarnessWithEvaluators()
    earlier = loaded(file=job_file(energy=True), energy=trained)
    plan = harness.begin_round(earlier, COLLECTOR, A, B, C, EVALUATOR)
    ended = committed(plan)
    assert ended.record is not None
    traffic = RoundTraffic(updates=300, version=700, plain=1000)
    record = replace(ended.record, energy=trained, traffic=traffic)
    harness.receive(COLLECTOR, replace(ended, record=record))
    assert harness.evaluation().measures_energy
    harness.receive(EVALUATOR, replace(score(0.75), energy=scored))
    store = harness.asked(keys.EvaluationStorage(JOB, 1), StoreEvaluation)
    assert store.energy == scored
    (done,) = harness.sent(RoundState)
    joules = {"training": 30.0, "evaluation": 4.0}
    assert done.energy == EnergyUsed(joules=joules, grams=2.5)
    assert done.traffic == traffic
    assert harness.sent(JobState)[-1].energy == EnergyUsed(
        joules={**joules, "training": 60.0}, grams=4.5
    )
