"""Trainer in NumPy with real gradients for fault tests of strategies: agents have other optima.

It loads no framework, so that a process of an agent starts quickly.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulated_trainer import PATTERN_NUMBERS, pattern
from fedbus.data import Dataset, from_arrays
from fedbus.model.layout import Array, Role, Weights
from fedbus.training.local_terms import LocalTerms
from fedbus.training.params import Metrics, TrainingParams, Update

ROLES: Mapping[str, Role] = {"seen": "statistic", "spread": "statistic"}
_TRAINED = ("b", "w")


def first_weights(numbers: int) -> dict[str, Array]:
    """Return weights with `numbers` numbers to train, and one tensor of each untrained kind."""
    return {
        "b": np.ones(3, np.float32),
        "seen": np.zeros(1, np.int64),
        "spread": np.zeros(2, np.float32),
        "w": np.linspace(-1, 1, numbers, dtype=np.float32),
    }


def rows_of(number: int, examples: int) -> Dataset:
    """Return the rows of an agent: each has one whole number, which no other agent has."""
    first = number * PATTERN_NUMBERS
    x = np.arange(first, first + examples, dtype=np.float32)[:, None]
    return from_arrays(x, np.zeros((examples, 1), np.float32))


class QuadraticTrainer:
    """Trains w by SGD on the mean of |w - t|^2 / 2 over its rows.

    t are the random numbers that belong to the row's number, repeated to the shape of a tensor.
    """

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        self._numbers = int(architecture.get("numbers", 1))
        self._terms = LocalTerms()

    def initial(self) -> Weights:
        """Return the first weights."""
        return first_weights(self._numbers)

    def roles(self) -> Mapping[str, Role]:
        """Return the roles of the tensors that are not trained."""
        return ROLES

    def use_local_terms(self, terms: LocalTerms) -> None:
        """Add these terms to the loss of the next training."""
        self._terms = terms

    def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Update:
        """Take one SGD step for each batch."""
        terms, self._terms = self._terms, LocalTerms()
        new = {name: array.copy() for name, array in weights.items()}
        rate, loss = np.float32(params.learning_rate), 0.0
        for x, _ in data.steps(params):
            optimum = _optimum(x)
            for name in _TRAINED:
                array = new[name]
                gradient: Array = array - np.resize(optimum, array.shape)
                loss += float(np.square(gradient, dtype=np.float64).mean())
                gradient += np.float32(terms.proximal) * (array - weights[name])
                if name in terms.linear:
                    gradient += terms.linear[name]
                array -= rate * gradient
            if "seen" in new:  # a private job's model has weights only
                new["seen"] += len(x)
                new["spread"] += np.float32(0.1) * (np.float32(x.std()) - new["spread"])
        return Update(new, data.examples, {"loss": loss})

    def evaluate(self, weights: Weights, data: Dataset, _params: TrainingParams) -> Metrics:
        """Measure the distance to the optimum of the rows."""
        optimum = np.mean([_optimum(x) for x, _ in data.batches()], axis=0)
        gap = weights["w"] - np.resize(optimum, weights["w"].shape)
        loss = float(np.square(gap, dtype=np.float64).mean())
        return {"loss": loss, "accuracy": 1 / (1 + loss)}


def _optimum(x: Array) -> NDArray[np.float32]:
    """Return the mean of the numbers t of a batch, shape (PATTERN_NUMBERS,)."""
    mean: NDArray[np.float32] = np.mean([pattern(int(row)) for row in x[:, 0]], axis=0)
    return mean
