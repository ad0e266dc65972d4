"""Small problems whose agents disagree: quadratics and logistic regressions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from tests.fedbus.strategies.federation import Gradient, Vector


@dataclass(frozen=True)
class Problem:
    """The gradients of the agents' losses, and where the mean of the losses is least."""

    gradients: Sequence[Gradient]
    optimum: Vector

    @property
    def numbers(self) -> int:
        return len(self.optimum)

    def cohorts(self, rounds: int, agents: int, seed: int = 0) -> list[list[int]]:
        """Return a cohort of this many agents for each round, selected by chance."""
        rng = np.random.default_rng(seed)
        everyone = len(self.gradients)
        return [rng.choice(everyone, agents, replace=False).tolist() for _ in range(rounds)]


def quadratics(agents: int = 6, numbers: int = 7, seed: int = 1) -> Problem:
    """Return losses (w - b)' A (w - b) / 2 whose curvatures A and minima b all differ."""
    rng = np.random.default_rng(seed)
    curvatures, minima = [], []
    for _ in range(agents):
        basis = np.linalg.qr(rng.normal(size=(numbers, numbers)))[0]
        curvatures.append(basis * rng.uniform(0.3, 3, numbers) @ basis.T)
        minima.append(rng.normal(0, 3, numbers))
    pulls = [a @ b for a, b in zip(curvatures, minima, strict=True)]
    optimum = np.linalg.solve(np.sum(curvatures, axis=0), np.sum(pulls, axis=0))

    def gradient(agent: int, w: Vector) -> Vector:
        slope: Vector = curvatures[agent] @ w - pulls[agent]
        return slope

    return Problem([partial(gradient, agent) for agent in range(agents)], optimum)


def logistic_regressions(agents: int = 6, numbers: int = 5, seed: int = 2) -> Problem:
    """Return logistic losses with a small L2 term, of agents whose classes differ."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(0, 1, (agents, 30, numbers))
    directions = rng.normal(size=numbers) + rng.normal(size=(agents, numbers))
    labels = [(x @ w > 0).astype(float) for x, w in zip(rows, directions, strict=True)]

    def gradient(agent: int, w: Vector) -> Vector:
        x, y = rows[agent], labels[agent]
        slope: Vector = x.T @ (1 / (1 + np.exp(-x @ w)) - y) / len(y) + 0.05 * w
        return slope

    gradients = [partial(gradient, agent) for agent in range(agents)]
    optimum = np.zeros(numbers)
    for _ in range(5000):  # gradient descent on the mean of the losses
        optimum -= 0.5 * np.mean([slope(optimum) for slope in gradients], axis=0)
    return Problem(gradients, optimum)
