"""FedAdagrad, FedAdam and FedYogi, compared with the paper's algorithm on whole arrays."""

import numpy as np
import pytest

from fedbus.strategies.server_optimizers.adagrad import Adagrad
from fedbus.strategies.server_optimizers.adam import Adam
from tests.fedbus.strategies.federation import Federation, Vector, resolved
from tests.fedbus.strategies.problems import quadratics

BETA_2 = 0.95


def second_moment(strategy: str, v: Vector, delta: Vector) -> Vector:
    """Return v_t by lines 12 to 14 of algorithm 2 (arXiv 2003.00295)."""
    squares: Vector = delta**2
    if strategy == "fedadagrad":
        return v + squares
    if strategy == "fedyogi":
        sign: Vector = np.sign(v - squares)
        return v - (1 - BETA_2) * squares * sign
    return BETA_2 * v + (1 - BETA_2) * squares


@pytest.mark.parametrize("tau", [0.01, 1.0])
@pytest.mark.parametrize("beta_1", [0.0, 0.8])
@pytest.mark.parametrize("strategy", ["fedadagrad", "fedadam", "fedyogi"])
def test_rounds_equal_algorithm_2_of_the_paper(strategy: str, beta_1: float, tau: float) -> None:
    """With two of six agents in each round, and a second moment that begins at tau squared."""
    problem = quadratics()
    cohorts = problem.cohorts(12, 2)
    parameters = {"eta": 0.2, "beta_1": beta_1, "tau": tau}
    if strategy != "fedadagrad":
        parameters["beta_2"] = BETA_2
    ours = Federation(resolved(strategy, **parameters), problem.gradients, problem.numbers, 5, 0.05)
    ours.run(cohorts)
    x, m, v = np.zeros(problem.numbers), np.zeros(problem.numbers), np.full(problem.numbers, tau**2)
    for cohort in cohorts:
        delta = np.zeros(problem.numbers)
        for agent in cohort:
            y = x.copy()
            for _ in range(5):
                y -= 0.05 * problem.gradients[agent](y)
            delta += (y - x) / len(cohort)
        m = beta_1 * m + (1 - beta_1) * delta
        v = second_moment(strategy, v, delta)
        x = x + 0.2 * m / (np.sqrt(v) + tau)
    np.testing.assert_allclose(ours.weights, x, rtol=1e-5, atol=1e-6)
    if "first_moment" in ours.state:
        np.testing.assert_allclose(ours.state["first_moment"], m, rtol=1e-5, atol=1e-6)
    kept = "sum_of_squares" if strategy == "fedadagrad" else "second_moment"
    np.testing.assert_allclose(ours.state[kept], v, rtol=1e-5, atol=1e-7)


def test_adagrad_without_momentum_keeps_one_array() -> None:
    """A model of 100 MB has 100 MB less state in every round."""
    assert Adagrad().state == ("sum_of_squares",)
    assert Adagrad(beta_1=0.5).state == ("first_moment", "sum_of_squares")


@pytest.mark.parametrize("strategy", ["fedadagrad", "fedadam", "fedyogi"])
def test_a_weight_that_never_changes_is_no_division_by_zero(strategy: str) -> None:
    """Its second moment falls towards 0, below what float32 can hold; tau remains."""
    run = Federation(resolved(strategy, tau=1e-30), [np.zeros_like] * 2, 5, 1, 0.1)
    run.run([[0, 1]] * 50)
    assert run.weights.tolist() == [0] * 5


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"server_learning_rate": 0}, "server_learning_rate: expected a number above 0, got 0"),
        ({"server_learning_rate": 1e308}, r"expected a number of at most 1e\+06, got 1e\+308"),
        ({"server_learning_rate": 10**400}, r"expected a number of at most 1e\+06, got 1000"),
        ({"tau": 1e-308}, "tau: expected a number of at least 1e-30, got 1e-308"),
        ({"tau": float("inf")}, "tau: expected a number above 0, got inf"),
        ({"beta_1": 1.0}, "beta_1: expected a number from 0 to below 1, got 1.0"),
        ({"beta_2": "0.9"}, "beta_2: expected a number from 0 to below 1, got '0.9'"),
        ({"beta_2": True}, "beta_2: expected a number from 0 to below 1, got True"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(parameters: dict[str, float], sentence: str) -> None:
    """In the words of a job file, before any agent trains."""
    with pytest.raises(ValueError, match=sentence):
        Adam(**parameters)
