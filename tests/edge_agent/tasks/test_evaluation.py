"""Evaluation tasks."""

from fedbus.errors import TrainingError
from fedbus.wire.messages import Evaluated
from fedbus_edge_agent import keys
from tests.edge_agent.harness import CONTROLLER, AgentHarness, evaluate, train


def test_a_version_is_evaluated_once_and_the_result_sent_as_often_as_asked(
    harness: AgentHarness,
) -> None:
    """The controller repeats its request until a result arrives."""
    harness.receive(CONTROLLER, evaluate())
    harness.deliver_inputs()
    harness.run_calls()
    score = harness.sent_to(CONTROLLER, Evaluated)
    assert (score.version, score.examples, score.metrics) == (2, 7, {"accuracy": 0.5})
    harness.receive(CONTROLLER, evaluate())
    assert harness.sent_to(CONTROLLER, Evaluated) == score
    assert len(harness.runner.done) == 1


def test_a_failed_evaluation_is_reported_with_its_reason_and_repeated(
    harness: AgentHarness,
) -> None:
    """When the controller asks again."""
    harness.runner.failure = lambda: TrainingError("cannot evaluate")
    harness.receive(CONTROLLER, evaluate())
    harness.deliver_inputs()
    harness.run_calls()
    assert harness.sent_to(CONTROLLER, Evaluated).reason == "cannot evaluate"
    harness.runner.failure = None
    harness.receive(CONTROLLER, evaluate())
    harness.deliver_inputs()
    harness.run_calls()
    assert harness.sent_to(CONTROLLER, Evaluated).reason == ""


def test_the_evaluation_of_a_newer_version_stops_the_older_one(harness: AgentHarness) -> None:
    """But no training."""
    harness.receive(CONTROLLER, train())
    harness.receive(CONTROLLER, evaluate(2))
    harness.receive(CONTROLLER, evaluate(3))
    assert {key.task for key in harness.input_fetches()} == {
        keys.TrainingWork("job-1", 1),
        keys.EvaluationWork("job-1", 3),
    }


def test_a_bounded_number_of_evaluation_results_is_kept(harness: AgentHarness) -> None:
    """The oldest is dropped first."""
    for number in range(66):
        harness.receive(CONTROLLER, evaluate(2, job=f"job-{number}"))
        harness.deliver_inputs()
        harness.run_calls()
    harness.receive(CONTROLLER, evaluate(2, job="job-65"))
    assert harness.runs == []
    harness.receive(CONTROLLER, evaluate(2, job="job-0"))
    assert len(harness.runs) == 1
