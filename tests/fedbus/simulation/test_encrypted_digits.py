"""Accuracy of encrypted averaging on the handwritten digits, beside plain averaging."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from fedbus.data import Dataset, from_arrays
from fedbus.model.layout import Array, Weights
from fedbus.simulation.run import model_of, simulate
from fedbus.training.params import TrainingParams, Update

datasets = pytest.importorskip("sklearn.datasets")
pytest.importorskip("tenseal")

AGENTS, ROUNDS = 5, 8


class Softmax:
    """Logistic regression by SGD on pictures of 64 numbers."""

    def __init__(self, _architecture: Mapping[str, Any]) -> None:
        """Take no parameters."""

    def initial(self) -> Weights:
        """Begin with zeros."""
        return {"w": np.zeros((64, 10), np.float32), "b": np.zeros(10, np.float32)}

    def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Update:
        """Take gradient steps."""
        w, b = weights["w"].copy(), weights["b"].copy()
        for x, y in data.steps(params):
            error = _shares(x, {"w": w, "b": b})
            error[np.arange(len(y)), y] -= 1
            w -= params.learning_rate * x.T @ error / len(y)
            b -= params.learning_rate * error.mean(axis=0)
        return Update({"w": w, "b": b}, data.examples, {"loss": 0.0})

    def evaluate(
        self, weights: Weights, data: Dataset, _params: TrainingParams
    ) -> dict[str, float]:
        """Return the share of pictures that are recognized."""
        right = [(_shares(x, weights).argmax(axis=1) == y) for x, y in data.batches()]
        return {"accuracy": float(np.concatenate(right).mean())}


def _shares(x: Array, weights: Weights) -> Array:
    scores = x @ weights["w"] + weights["b"]
    shares: Array = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def accuracy(mechanisms: Mapping[str, object]) -> float:
    """Return the accuracy on held-out digits after some rounds; the seed is always the same."""
    x, y = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = (x[order] / 16).astype(np.float32), y[order]
    parts = [from_arrays(x[i::AGENTS][:240], y[i::AGENTS][:240]) for i in range(AGENTS)]
    held_out = from_arrays(x[1200:], y[1200:])
    job = {
        "training_id": "digits-1",
        "model_name": "digits",
        "num_rounds": ROUNDS,
        "round": {"agents": AGENTS},
        "config": [{"batch_size": 16, "epochs": 1, "learning_rate": 0.5}],
        "privacy-mechanisms": mechanisms,
    }
    data = {f"a{i}": part for i, part in enumerate(parts)}
    done = simulate(
        job, model_of("digits", Softmax, {}), data, held_out=held_out, own={"own": Softmax}
    )
    assert (done.state.phase, done.state.round) == ("finished", ROUNDS)
    return done.state.metrics["accuracy"]


def test_eleven_bits_cost_less_than_a_point_of_accuracy() -> None:
    """The same job with the same seed, once in the clear and once encrypted."""
    plain, encrypted = accuracy({}), accuracy({"homomorphic": {"bits": 11}})
    assert plain > 0.9
    assert abs(plain - encrypted) <= 0.01
