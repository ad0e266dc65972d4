"""The result record of a job."""

import pytest

from fedbus.wire.identifiers import Metrics
from fedbus.wire.messages import JobResult, RoundOutcome
from fedbus.wire.result_record import final_loss, result_record

RESULT = JobResult(
    job="first",
    model="digits",
    configuration="c0ffee",
    phase="finished",
    reason="all rounds are done",
    rounds=2,
    version=3,
    metrics={"accuracy": 0.9, "loss": 0.25, "train_loss": 0.5},
    contributors=3,
)


def test_a_record_has_the_keys_of_aeros() -> None:
    """Controllers of aerOS read them by these names."""
    record = result_record(RESULT)
    assert {key: record[key] for key in record if key != "results"} == {
        "model_name": "digits",
        "model_version": 3,
        "training_id": "first",
        "configuration_id": "c0ffee",
    }
    results = record["results"]
    assert (results["rounds"], results["final_loss"], results["phase"]) == (2, 0.25, "finished")
    assert results["metrics"]["accuracy"] == 0.9
    assert "history" not in results


def test_rounds_are_given_with_the_metrics_of_each() -> None:
    """In the order in which they are passed."""
    done = RoundOutcome(round=1, version=2, metrics={"loss": 1.0}, contributors=3)
    (first,) = result_record(RESULT, [done])["results"]["history"]
    assert (first["round"], first["version"], first["metrics"]) == (1, 2, {"loss": 1.0})


@pytest.mark.parametrize(
    ("metrics", "loss"),
    [({"loss": 1.0, "train_loss": 2.0}, 1.0), ({"train_loss": 2.0}, 2.0), ({}, None)],
)
def test_the_final_loss_is_the_held_out_one_if_there_is_one(
    metrics: Metrics, loss: float | None
) -> None:
    """That of the training data stands in where no evaluator was online."""
    assert final_loss(metrics) == loss
