"""FedDyn: both halves together, compared with the paper's algorithm on whole arrays."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from fedbus.strategies.objectives.feddyn_objective import FedDynObjective
from fedbus.strategies.server_optimizers.feddyn_server import FedDynServer
from tests.fedbus.strategies.federation import Federation, Vector, resolved
from tests.fedbus.strategies.problems import Problem, logistic_regressions, quadratics

ALPHA = 0.5

Minimize = Callable[[int, Vector, Vector], Vector]
"""argmin of L_k(w) - <g, w> + alpha / 2 * ||w - base||^2, of an agent, g and base."""


def algorithm_1(
    problem: Problem, cohorts: Sequence[Sequence[int]], minimize: Minimize
) -> tuple[Vector, Vector, list[Vector]]:
    """Return theta, h and all gradients after algorithm 1 of the paper (arXiv 2111.04263)."""
    m = len(problem.gradients)
    theta, h = np.zeros(problem.numbers), np.zeros(problem.numbers)
    kept = [np.zeros(problem.numbers) for _ in range(m)]
    for cohort in cohorts:
        models = []
        for k in cohort:
            model = minimize(k, kept[k], theta)
            kept[k] = kept[k] - ALPHA * (model - theta)
            models.append(model)
        h = h - ALPHA / m * np.sum([model - theta for model in models], axis=0)
        theta = np.mean(models, axis=0) - h / ALPHA
    return theta, h, kept


def descent(problem: Problem, steps: int, rate: float) -> Minimize:
    """Return a minimizer by gradient descent from the base."""

    def minimize(agent: int, g: Vector, base: Vector) -> Vector:
        w = base.copy()
        for _ in range(steps):
            w = w - rate * (problem.gradients[agent](w) - g + ALPHA * (w - base))
        return w

    return minimize


def exactly(problem: Problem) -> Minimize:
    """Return the exact minimizer of a quadratic, whose gradient is A w - p."""
    unit = np.eye(problem.numbers)

    def minimize(agent: int, g: Vector, base: Vector) -> Vector:
        gradient = problem.gradients[agent]
        p = -gradient(np.zeros(problem.numbers))
        a = np.array([gradient(row) + p for row in unit]).T
        found: Vector = np.linalg.solve(a + ALPHA * unit, p + g + ALPHA * base)
        return found

    return minimize


def compare(run: Federation, expected: tuple[Vector, Vector, list[Vector]], close: float) -> None:
    """Compare the model, the server's state and each agent's own gradient."""
    theta, h, kept = expected
    np.testing.assert_allclose(run.weights, theta, rtol=close, atol=close)
    np.testing.assert_allclose(run.state["mean_gradient"], h, rtol=close, atol=close)
    for agent, own in run.own.items():
        flat = np.concatenate([array.ravel() for array in own.values()])
        np.testing.assert_allclose(flat, kept[agent], rtol=close, atol=close)


@pytest.mark.parametrize("problem", [quadratics(), logistic_regressions()])
@pytest.mark.parametrize("agents", [2, 3, 6])
def test_rounds_equal_the_algorithm_of_the_paper(problem: Problem, agents: int) -> None:
    """With the same inexact local training in both, after 15 rounds."""
    cohorts = problem.cohorts(15, agents)
    strategy = resolved("feddyn", alpha=ALPHA)
    examples = range(1, 7)  # which FedDyn must not weigh by
    run = Federation(strategy, problem.gradients, problem.numbers, 8, 0.1, examples)
    run.run(cohorts)
    compare(run, algorithm_1(problem, cohorts, descent(problem, 8, 0.1)), 1e-5)


def test_rounds_of_exact_trainings_equal_the_algorithm_of_the_paper() -> None:
    """So the terms that agents add are those whose least point the paper takes."""
    problem = quadratics()
    cohorts = problem.cohorts(15, 2)
    run = Federation(resolved("feddyn", alpha=ALPHA), problem.gradients, problem.numbers, 300, 0.3)
    run.run(cohorts)
    compare(run, algorithm_1(problem, cohorts, exactly(problem)), 1e-5)


@pytest.mark.parametrize("problem", [quadratics(), logistic_regressions()])
def test_it_reaches_the_optimum_where_averaging_stalls(problem: Problem) -> None:
    """Theorem of the paper; two of six agents take part in each round."""
    cohorts = problem.cohorts(200, 2)

    def distance(strategy: str, **parameters: float) -> float:
        resolved_ = resolved(strategy, **parameters)
        run = Federation(resolved_, problem.gradients, problem.numbers, 30, 0.3)
        run.run(cohorts)
        return float(np.linalg.norm(run.weights - problem.optimum))

    assert distance("fedavg") > 0.1
    assert distance("feddyn", alpha=ALPHA) < 1e-4


def test_the_server_s_state_is_the_mean_of_all_agents_gradients() -> None:
    """With agents that have not yet taken part at zero."""
    problem = quadratics()
    run = Federation(resolved("feddyn", alpha=ALPHA), problem.gradients, problem.numbers, 5, 0.1)
    run.run(problem.cohorts(4, 2))
    own = [np.concatenate([a.ravel() for a in arrays.values()]) for arrays in run.own.values()]
    mean = np.sum(own, axis=0) / 6
    np.testing.assert_allclose(run.state["mean_gradient"], mean, rtol=1e-5, atol=1e-6)


def test_alpha_is_one_number_of_both_halves() -> None:
    """A job gives it once; the server's and the agents' must not differ."""
    strategy = resolved("feddyn", alpha=0.25)
    assert strategy.server_optimizer is not None
    assert strategy.objective is not None
    assert strategy.server_optimizer.parameters == strategy.objective.parameters == {"alpha": 0.25}
    for part in (FedDynServer, FedDynObjective):
        with pytest.raises(ValueError, match="alpha: expected a number above 0, got 0"):
            part(alpha=0)
