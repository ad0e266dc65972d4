"""An agent scores versions on what it holds out."""

from fedbus.errors import TrainingError
from fedbus.wire.messages import Evaluated
from fedbus_edge_agent import keys
from tests.edge_agent.harness import CONTROLLER, AgentHarness, evaluate, train


def test_a_version_is_scored_once_and_the_score_told_as_often_as_asked(
    harness: AgentHarness,
) -> None:
    """The controller repeats its question until it has heard the answer."""
    harness.hear(CONTROLLER, evaluate())
    harness.bring()
    harness.work()
    score = harness.told(CONTROLLER, Evaluated)
    assert (score.version, score.examples, score.metrics) == (2, 7, {"accuracy": 0.5})
    harness.hear(CONTROLLER, evaluate())
    assert harness.told(CONTROLLER, Evaluated) == score
    assert len(harness.runner.done) == 1


def test_a_score_that_fails_is_told_with_its_reason_and_tried_again(harness: AgentHarness) -> None:
    """When it is asked for again."""
    harness.runner.failure = lambda: TrainingError("cannot evaluate")
    harness.hear(CONTROLLER, evaluate())
    harness.bring()
    harness.work()
    assert harness.told(CONTROLLER, Evaluated).reason == "cannot evaluate"
    harness.runner.failure = None
    harness.hear(CONTROLLER, evaluate())
    harness.bring()
    harness.work()
    assert harness.told(CONTROLLER, Evaluated).reason == ""


def test_a_newer_version_to_score_stops_the_older(harness: AgentHarness) -> None:
    """But no training."""
    harness.hear(CONTROLLER, train())
    harness.hear(CONTROLLER, evaluate(2))
    harness.hear(CONTROLLER, evaluate(3))
    assert {key.task for key in harness.input_fetches()} == {
        keys.TrainingWork("job-1", 1),
        keys.EvaluationWork("job-1", 3),
    }


def test_only_so_many_scores_are_remembered(harness: AgentHarness) -> None:
    """The oldest is forgotten first."""
    for number in range(66):
        harness.hear(CONTROLLER, evaluate(2, job=f"job-{number}"))
        harness.bring()
        harness.work()
    harness.hear(CONTROLLER, evaluate(2, job="job-65"))
    assert harness.runs == []
    harness.hear(CONTROLLER, evaluate(2, job="job-0"))
    assert len(harness.runs) == 1
