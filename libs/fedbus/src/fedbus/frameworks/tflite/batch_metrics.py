"""Loss and correct predictions of one batch, computed from a model's outputs. Pure."""

from typing import Final

import numpy as np

from fedbus.model.layout import Array

_MIN_PROBABILITY: Final = 1e-7
"""Probabilities are limited to at least this before their logarithm, as Keras does."""
_THRESHOLD: Final = 0.5


def class_metrics(probabilities: Array, targets: Array) -> dict[str, float]:
    """Compute the mean cross-entropy and the number of correct rows.

    Args:
        probabilities: Shape (rows, classes).
        targets: Class numbers, shape (rows,), or class probabilities, shape (rows, classes).
    """
    logs = np.log(np.maximum(probabilities, _MIN_PROBABILITY))
    if targets.ndim == 1:
        each, classes = logs[np.arange(len(targets)), targets], targets
    else:
        each, classes = (targets * logs).sum(axis=1), targets.argmax(axis=1)
    correct = probabilities.argmax(axis=1) == classes
    return {"loss": float(-each.mean()), "correct": float(correct.sum())}


def binary_metrics(probabilities: Array, targets: Array) -> dict[str, float]:
    """Compute the mean binary cross-entropy, and correct rows with fractions of rows.

    Both arrays have the shape (rows, outputs); a target is 1 for yes and 0 for no.
    """
    held = np.clip(probabilities, _MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
    loss = -(targets * np.log(held) + (1 - targets) * np.log(1 - held)).mean()
    correct = (probabilities > _THRESHOLD) == (targets > _THRESHOLD)
    return {"loss": float(loss), "correct": float(correct.mean() * len(targets))}


def squared_error(outputs: Array, targets: Array) -> dict[str, float]:
    """Compute the mean squared error; no row of quantities is correct or wrong."""
    return {"loss": float(np.square(outputs - targets).mean()), "correct": 0.0}
