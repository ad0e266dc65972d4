"""FedProx, SCAFFOLD and FedDyn with the PyTorch trainer, compared with the papers' algorithms."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

from fedbus.data import from_arrays
from fedbus.model.layout import Layout
from fedbus.model.sections import join_section, split_section
from fedbus.training.local_terms import LocalTerms
from fedbus.training.params import Architecture, TrainingParams
from tests.fedbus.strategies.federation import Federation, Vector, resolved
from tests.fedbus.strategies.objectives import (
    test_feddyn_objective,
    test_proximal,
    test_scaffold_objective,
)
from tests.fedbus.strategies.problems import Problem

pytest.importorskip("torch")

from fedbus.frameworks.torch import TorchTrainer

NET: Architecture = {"name": "mlp", "config": {"layers": [4, 3]}}
"""Softmax regression, whose gradient is short enough to write out."""
NUMBERS = 3 * 4 + 3
AGENTS, ROWS, STEPS, RATE = 5, 24, 4, 0.2
RNG = np.random.default_rng(6)
X = RNG.normal(size=(AGENTS, ROWS, 4)).astype(np.float32)
CLASSES = np.array([np.argmax(x @ RNG.normal(size=(4, 3)), axis=1) for x in X])


def gradient(agent: int, w: Vector) -> Vector:
    """Return the gradient of the mean cross-entropy by the bias and the kernel."""
    x = X[agent].astype(float)
    logits = w[:3] + x @ w[3:].reshape(4, 3)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    error = (shares - np.eye(3)[CLASSES[agent]]) / ROWS
    return np.concatenate([error.sum(axis=0), (x.T @ error).ravel()])


PROBLEM = Problem([partial(gradient, agent) for agent in range(AGENTS)], np.zeros(NUMBERS))


@dataclass
class TorchFederation(Federation):
    """Agents that train with the shipped trainer of PyTorch, each on its own rows."""

    def make_layout(self) -> Layout:
        self.trainer = TorchTrainer(NET)
        return Layout.of(self.trainer.initial())

    def descend(self, agent: int, terms: LocalTerms) -> Vector:
        params = TrainingParams(learning_rate=RATE, epochs=STEPS, batch_size=ROWS)
        weights = split_section(self.weights.astype(np.float32), self.layout)
        self.trainer.use_local_terms(terms)
        trained = self.trainer.train(weights, from_arrays(X[agent], CLASSES[agent], ROWS), params)
        return join_section(trained.weights, self.layout).astype(float)


def fedprox(cohorts: list[list[int]]) -> Vector:
    """Return the model by FedProx."""
    return test_proximal.algorithm_2(PROBLEM, cohorts, steps=STEPS, rate=RATE, mu=1.5)


def scaffold(cohorts: list[list[int]]) -> Vector:
    """Return the model by SCAFFOLD."""
    return test_scaffold_objective.algorithm_1(PROBLEM, cohorts, STEPS, RATE, 1.0)[0]


def feddyn(cohorts: list[list[int]]) -> Vector:
    """Return the model by FedDyn."""
    minimize = test_feddyn_objective.descent(PROBLEM, STEPS, RATE)
    return test_feddyn_objective.algorithm_1(PROBLEM, cohorts, minimize)[0]


@pytest.mark.parametrize(
    ("strategy", "parameters", "algorithm"),
    [
        ("fedprox", {"mu": 1.5}, fedprox),
        ("scaffold", {}, scaffold),
        ("feddyn", {"alpha": test_feddyn_objective.ALPHA}, feddyn),
    ],
)
def test_rounds_equal_the_algorithm_of_the_paper(
    strategy: str,
    parameters: dict[str, float],
    algorithm: Callable[[list[list[int]]], Vector],
) -> None:
    """Over ten rounds with two of five agents: signs, steps and state agree with the trainer's."""
    cohorts = PROBLEM.cohorts(10, 2)
    run = TorchFederation(resolved(strategy, **parameters), PROBLEM.gradients, NUMBERS, STEPS, RATE)
    run.run(cohorts)
    np.testing.assert_allclose(run.weights, algorithm(cohorts), rtol=1e-4, atol=1e-5)
    plain = TorchFederation(resolved("fedavg"), PROBLEM.gradients, NUMBERS, STEPS, RATE)
    plain.run(cohorts)
    assert np.abs(plain.weights - run.weights).max() > 0.01
