"""Training parameters: arguments of an optimizer."""

import pytest

from fedbus.errors import TrainingError
from fedbus.training.params import TrainingParams


def test_an_argument_that_is_no_number_is_refused() -> None:
    """Before arithmetic makes something of it."""
    params = TrainingParams(optimizer_args={"momentum": 0.9, "mode": "min"})
    assert (params.number("momentum", 0.0), params.number("rho", 0.5)) == (0.9, 0.5)
    with pytest.raises(TrainingError, match=r"sgd\.mode: expected a number, got 'min'"):
        params.number("mode", 0.0)
