"""FedAdam, compared with the paper's algorithm on whole arrays."""

import numpy as np
import pytest

from fedbus.strategies.server_optimizers.adam import Adam
from tests.fedbus.strategies.federation import Federation, resolved
from tests.fedbus.strategies.problems import quadratics


def test_rounds_equal_algorithm_2_of_the_paper() -> None:
    """With agents that weigh the same, and two of six in each round."""
    problem = quadratics()
    cohorts = problem.cohorts(12, 2)
    numbers = {"beta_1": 0.8, "beta_2": 0.95, "tau": 0.01}
    ours = Federation(
        resolved("fedadam", eta=0.2, **numbers), problem.gradients, problem.numbers, 5, 0.05
    )
    ours.run(cohorts)
    x, m, v = np.zeros(problem.numbers), np.zeros(problem.numbers), np.full(problem.numbers, 1e-4)
    for cohort in cohorts:
        delta = np.zeros(problem.numbers)
        for agent in cohort:
            y = x.copy()
            for _ in range(5):
                y -= 0.05 * problem.gradients[agent](y)
            delta += (y - x) / len(cohort)
        m = 0.8 * m + 0.2 * delta
        v = 0.95 * v + 0.05 * delta**2
        x = x + 0.2 * m / (np.sqrt(v) + 0.01)
    np.testing.assert_allclose(ours.weights, x, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.state["first_moment"], m, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.state["second_moment"], v, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"server_learning_rate": 0}, "server_learning_rate: expected a number above 0, got 0"),
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
