"""Parameters name what they ask for; figures are means over rows."""

import math

import pytest

from fedbus.errors import TrainingError
from fedbus.training.params import RunningMetrics, TrainingParams


def test_an_argument_that_is_no_number_is_refused() -> None:
    """Before arithmetic makes something of it."""
    params = TrainingParams(optimizer_args={"momentum": 0.9, "mode": "min"})
    assert (params.number("momentum", 0.0), params.number("rho", 0.5)) == (0.9, 0.5)
    with pytest.raises(TrainingError, match="mode of sgd is 'min', not a number"):
        params.number("mode", 0.0)


def test_a_short_batch_weighs_by_its_rows() -> None:
    """A mean of means would favour it."""
    tally = RunningMetrics()
    tally.add(loss=1.0, correct=3, examples=3)
    tally.add(loss=5.0, correct=0, examples=1)
    assert tally.metrics() == {"loss": 2.0, "accuracy": 0.75}


def test_training_that_diverged_or_saw_nothing_makes_no_update() -> None:
    """Better said here than refused by the collector."""
    with pytest.raises(TrainingError, match="without a single row"):
        RunningMetrics().metrics()
    tally = RunningMetrics()
    tally.add(loss=math.nan, correct=0, examples=1)
    with pytest.raises(TrainingError, match="the loss became nan; a lower learning_rate"):
        tally.metrics()
