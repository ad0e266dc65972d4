"""Running metrics: means over examples, not over batches."""

import math

import pytest

from fedbus.errors import TrainingError
from fedbus.training.running_metrics import RunningMetrics


def test_a_short_batch_weighs_by_its_rows() -> None:
    """A mean of batch means would favour it."""
    running = RunningMetrics()
    running.add(loss=1.0, correct=3, examples=3)
    running.add(loss=5.0, correct=0, examples=1)
    assert running.metrics() == {"loss": 2.0, "accuracy": 0.75}


def test_training_that_diverged_or_saw_nothing_makes_no_update() -> None:
    """The agent reports the reason, instead of an update that the collector refuses."""
    with pytest.raises(TrainingError, match="got an empty data set"):
        RunningMetrics().metrics()
    running = RunningMetrics()
    running.add(loss=math.nan, correct=0, examples=1)
    with pytest.raises(TrainingError, match="the loss became nan; a lower learning_rate"):
        running.metrics()
