"""FedOpt with SGD and FedAvgM, compared with their formulas on whole arrays."""

import numpy as np

from tests.fedbus.strategies.federation import Federation, Vector, resolved
from tests.fedbus.strategies.problems import Problem, quadratics

EXAMPLES = (10, 20, 30, 40, 50, 60)
PROBLEM = quadratics()


def run_of(strategy: str, rounds: int, **parameters: float) -> Federation:
    """Return a federation after some rounds, with two of six agents in each."""
    resolved_ = resolved(strategy, **parameters)
    run = Federation(resolved_, PROBLEM.gradients, PROBLEM.numbers, 5, 0.05, EXAMPLES)
    run.run(PROBLEM.cohorts(rounds, 2))
    return run


def mean_update(problem: Problem, cohort: list[int], x: Vector) -> Vector:
    """Return the mean of the agents' updates, weighted by their examples."""
    updates: list[Vector] = []
    for agent in cohort:
        y = x.copy()
        for _ in range(5):
            y -= 0.05 * problem.gradients[agent](y)
        updates.append(y - x)
    mean: Vector = np.average(updates, axis=0, weights=[EXAMPLES[agent] for agent in cohort])
    return mean


def test_rounds_of_fedavgm_equal_its_formula() -> None:
    """The velocity is beta * v + delta, the step rate * v (Hsu et al. 2019)."""
    run = run_of("fedavgm", 12, server_learning_rate=0.6, server_momentum=0.7)
    x, v = np.zeros(PROBLEM.numbers), np.zeros(PROBLEM.numbers)
    for cohort in PROBLEM.cohorts(12, 2):
        v = 0.7 * v + mean_update(PROBLEM, cohort, x)
        x = x + 0.6 * v
    np.testing.assert_allclose(run.weights, x, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run.state["momentum"], v, rtol=1e-5, atol=1e-6)


def test_rounds_of_fedopt_equal_its_formula() -> None:
    """The step is eta * delta; with the default it is federated averaging."""
    run = run_of("fedopt", 12, eta=1.3)
    x = np.zeros(PROBLEM.numbers)
    for cohort in PROBLEM.cohorts(12, 2):
        x = x + 1.3 * mean_update(PROBLEM, cohort, x)
    np.testing.assert_allclose(run.weights, x, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(run_of("fedopt", 5).weights, run_of("fedavg", 5).weights)


def test_no_momentum_is_averaging() -> None:
    """The state is then the last update alone."""
    without = run_of("fedavgm", 5, server_momentum=0)
    np.testing.assert_allclose(without.weights, run_of("fedavg", 5).weights, rtol=1e-12)
