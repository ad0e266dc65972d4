"""Norms and distances of updates, from their inner products. Pure.

A Gram matrix here has the base in row and column 0, and update i in row and column i + 1.
"""

import numpy as np
from numpy.typing import NDArray

from fedbus.model.layout import Array

Floats = NDArray[np.float64]


def norms(gram: Array) -> Floats:
    """Return the Euclidean norm of each update, shape (agents,)."""
    lengths: Floats = np.sqrt(np.maximum(np.diagonal(gram)[1:], 0))
    return lengths


def squared_distances(gram: Array) -> Floats:
    """Return the squared Euclidean distance of each pair of updates, shape (agents, agents).

    Rounding may leave up to about 1e-15 times the larger squared norm where the distance is 0.
    """
    updates = (gram[1:, 1:] + gram[1:, 1:].T) / 2  # so that two updates are equally far apart
    squares = np.diagonal(updates)
    distances: Floats = np.maximum(squares[:, None] + squares - 2 * updates, 0)
    np.fill_diagonal(distances, 0)
    return distances
