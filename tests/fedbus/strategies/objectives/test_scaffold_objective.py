"""SCAFFOLD: both halves together, compared with the paper's algorithm on whole arrays."""

from collections.abc import Sequence

import numpy as np
import pytest

from fedbus.errors import TrainingError
from fedbus.plugins import LocalStart
from fedbus.strategies.objectives.scaffold_objective import ScaffoldObjective
from fedbus.training.params import TrainingParams
from tests.fedbus.strategies.federation import Federation, Vector, resolved
from tests.fedbus.strategies.problems import Problem, logistic_regressions, quadratics


def algorithm_1(
    problem: Problem,
    cohorts: Sequence[Sequence[int]],
    steps: int,
    local_rate: float,
    global_rate: float,
) -> tuple[Vector, Vector, list[Vector]]:
    """Return x, c and all c_i after algorithm 1 of the paper, option II (arXiv 1910.06378)."""
    population = len(problem.gradients)
    x, c = np.zeros(problem.numbers), np.zeros(problem.numbers)
    ci = [np.zeros(problem.numbers) for _ in range(population)]
    for cohort in cohorts:
        dx, dc = np.zeros_like(x), np.zeros_like(c)
        for i in cohort:
            y = x.copy()
            for _ in range(steps):
                y = y - local_rate * (problem.gradients[i](y) - ci[i] + c)
            plus = ci[i] - c + (x - y) / (steps * local_rate)
            dx += (y - x) / len(cohort)
            dc += (plus - ci[i]) / len(cohort)
            ci[i] = plus
        x = x + global_rate * dx
        c = c + len(cohort) / population * dc
    return x, c, ci


@pytest.mark.parametrize("problem", [quadratics(), logistic_regressions()])
@pytest.mark.parametrize(("agents", "global_rate"), [(2, 1.0), (3, 0.7), (6, 1.0)])
def test_rounds_equal_the_algorithm_of_the_paper(
    problem: Problem, agents: int, global_rate: float
) -> None:
    """The model, the server's control variate and each agent's own one, after 15 rounds."""
    cohorts = problem.cohorts(15, agents)
    ours = Federation(
        resolved("scaffold", server_learning_rate=global_rate),
        problem.gradients,
        problem.numbers,
        steps=5,
        learning_rate=0.05,
        examples=range(1, 7),  # which SCAFFOLD must not weigh by
    )
    ours.run(cohorts)
    x, c, ci = algorithm_1(problem, cohorts, 5, 0.05, global_rate)
    np.testing.assert_allclose(ours.weights, x, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.state["control"], c, rtol=1e-5, atol=2e-6)
    for agent, own in ours.own.items():
        flat = np.concatenate([array.ravel() for array in own.values()])
        np.testing.assert_allclose(flat, ci[agent], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("problem", [quadratics(), logistic_regressions()])
def test_it_reaches_the_optimum_where_averaging_stalls(problem: Problem) -> None:
    """Theorem of the paper: the agents' differences do not move the fixed point.

    Two of six agents take part in each round.
    """
    cohorts = problem.cohorts(300, 2)

    def distance(strategy: str) -> float:
        run = Federation(resolved(strategy), problem.gradients, problem.numbers, 10, 0.1)
        run.run(cohorts)
        return float(np.linalg.norm(run.weights - problem.optimum))

    assert distance("fedavg") > 0.05
    assert distance("scaffold") < 1e-4


def test_the_server_s_variate_is_the_mean_of_all_agents_variates() -> None:
    """With agents that have not yet taken part at zero: nothing is counted twice or lost."""
    problem = quadratics()
    run = Federation(resolved("scaffold"), problem.gradients, problem.numbers, 5, 0.05)
    run.run(problem.cohorts(4, 2))
    own = [np.concatenate([a.ravel() for a in arrays.values()]) for arrays in run.own.values()]
    np.testing.assert_allclose(run.state["control"], np.sum(own, axis=0) / 6, rtol=1e-5, atol=1e-6)


def test_small_tensors_of_half_precision_do_not_overflow() -> None:
    """An update of 700 over a rate of 0.01 is more than a float16 can hold."""
    zeros = {"w": np.zeros(1, np.float32)}
    start = LocalStart(
        params=TrainingParams(learning_rate=0.01), base=zeros, own=zeros, server={"control": zeros}
    )
    end = ScaffoldObjective().after(start, {"w": np.array([700], np.float16)}, 1)
    assert end.own["w"] == pytest.approx(-70_000)
    assert end.sections["control"]["w"].dtype == np.float32


def test_a_training_without_steps_has_no_gradient() -> None:
    """It cannot happen with data; division by zero would send an infinite variate."""
    zeros = {"w": np.zeros(1, np.float32)}
    start = LocalStart(params=TrainingParams(), base=zeros, own=zeros, server={"control": zeros})
    with pytest.raises(TrainingError, match="at least one optimizer step, got 0"):
        ScaffoldObjective().after(start, zeros, 0)
