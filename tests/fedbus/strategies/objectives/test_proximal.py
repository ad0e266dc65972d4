"""FedProx, compared with the paper's algorithm on whole arrays."""

from collections.abc import Sequence

import numpy as np
import pytest

from fedbus.strategies.objectives.proximal import Proximal
from tests.fedbus.strategies.federation import Federation, Vector, resolved
from tests.fedbus.strategies.problems import Problem, logistic_regressions, quadratics

EXAMPLES = (10, 20, 30, 40, 50, 60)


def algorithm_2(
    problem: Problem,
    cohorts: Sequence[Sequence[int]],
    *,
    steps: int,
    rate: float,
    mu: float,
    examples: Sequence[int] = (1,) * 6,
) -> Vector:
    """Return the weights after algorithm 2 of arXiv 1812.06127, with inexact minimizers.

    It selects agents by their numbers of examples and averages them unweighted; here they are
    selected with equal chance, and weighted.
    """
    x = np.zeros(problem.numbers)
    for cohort in cohorts:
        models: list[Vector] = []
        for k in cohort:
            w = x.copy()
            for _ in range(steps):
                w = w - rate * (problem.gradients[k](w) + mu * (w - x))
            models.append(w)
        x = np.average(models, axis=0, weights=[examples[k] for k in cohort])
    return x


@pytest.mark.parametrize("problem", [quadratics(), logistic_regressions()])
@pytest.mark.parametrize("mu", [0.0, 0.3, 2.0])
def test_rounds_equal_the_algorithm_of_the_paper(problem: Problem, mu: float) -> None:
    """After 12 rounds, with three of six agents in each."""
    cohorts = problem.cohorts(12, 3)
    strategy = resolved("fedprox", proximal_mu=mu)
    run = Federation(strategy, problem.gradients, problem.numbers, 6, 0.1, EXAMPLES)
    run.run(cohorts)
    x = algorithm_2(problem, cohorts, steps=6, rate=0.1, mu=mu, examples=EXAMPLES)
    np.testing.assert_allclose(run.weights, x, rtol=1e-12, atol=1e-12)


def test_agents_stay_nearer_to_the_base_the_larger_the_term() -> None:
    """What the term is for; with 0 it is federated averaging."""
    problem = quadratics()

    def moved(strategy: str, **parameters: float) -> float:
        resolved_ = resolved(strategy, **parameters)
        run = Federation(resolved_, problem.gradients, problem.numbers, 30, 0.1)
        run.run([[0]])
        return float(np.linalg.norm(run.weights))

    distances = [moved("fedprox", mu=mu) for mu in (0, 0.1, 1, 5)]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] == moved("fedavg") > 2 * distances[-1]


@pytest.mark.parametrize("mu", [-0.1, "1", None, float("nan")])
def test_a_term_that_would_push_away_is_refused(mu: float) -> None:
    """A negative term has no least point."""
    with pytest.raises(ValueError, match="proximal_mu: expected a number of at least 0, got"):
        Proximal(proximal_mu=mu)
