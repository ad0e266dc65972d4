"""An agent scores versions on what it holds out."""

from fedbus.errors import TrainingError
from fedbus.wire.messages import Evaluated
from fedbus_edge_agent import keys
from tests.edge_agent.stand import CONTROLLER, Stand, evaluate, train


def test_a_version_is_scored_once_and_the_score_told_as_often_as_asked(stand: Stand) -> None:
    """The controller repeats its question until it has heard the answer."""
    stand.hear(CONTROLLER, evaluate())
    stand.bring()
    stand.work()
    score = stand.told(CONTROLLER, Evaluated)
    assert (score.version, score.examples, score.metrics) == (2, 7, {"accuracy": 0.5})
    stand.hear(CONTROLLER, evaluate())
    assert stand.told(CONTROLLER, Evaluated) == score
    assert len(stand.bench.done) == 1


def test_a_score_that_fails_is_told_with_its_reason_and_tried_again(stand: Stand) -> None:
    """When it is asked for again."""
    stand.bench.failure = lambda: TrainingError("cannot evaluate")
    stand.hear(CONTROLLER, evaluate())
    stand.bring()
    stand.work()
    assert stand.told(CONTROLLER, Evaluated).reason == "cannot evaluate"
    stand.bench.failure = None
    stand.hear(CONTROLLER, evaluate())
    stand.bring()
    stand.work()
    assert stand.told(CONTROLLER, Evaluated).reason == ""


def test_a_newer_version_to_score_stops_the_older(stand: Stand) -> None:
    """But no training."""
    stand.hear(CONTROLLER, train())
    stand.hear(CONTROLLER, evaluate(2))
    stand.hear(CONTROLLER, evaluate(3))
    assert {key.task for key in stand.input_fetches()} == {
        keys.TrainingWork("job-1", 1),
        keys.EvaluationWork("job-1", 3),
    }


def test_only_so_many_scores_are_remembered(stand: Stand) -> None:
    """The oldest is forgotten first."""
    for number in range(66):
        stand.hear(CONTROLLER, evaluate(2, job=f"job-{number}"))
        stand.bring()
        stand.work()
    stand.hear(CONTROLLER, evaluate(2, job="job-65"))
    assert stand.runs == []
    stand.hear(CONTROLLER, evaluate(2, job="job-0"))
    assert len(stand.runs) == 1
