"""Many rows computed in parts, for models with a fixed number of rows or much memory. Pure."""

from collections.abc import Callable, Mapping

import numpy as np

from fedbus.model.layout import Array


def compute_in_parts(
    compute: Callable[[Mapping[str, Array]], Mapping[str, Array]],
    inputs: Mapping[str, Array],
    rows: int,
    at_once: int,
) -> dict[str, Array]:
    """Compute outputs of (rows, …) by name.

    Args:
        compute: Computes the outputs of some rows.
        inputs: Arrays with as many rows, one or more.
        rows: The number of rows that the model takes, each time; parts are filled up with zeros.
            -1: any number.
        at_once: Most rows that are computed at once if the model takes any number.
    """
    count, step = len(next(iter(inputs.values()))), rows if rows > 0 else at_once
    parts = [
        compute({name: _part(array, first, step, rows) for name, array in inputs.items()})
        for first in range(0, count, step)
    ]
    if len(parts) == 1:
        return {name: array[:count] for name, array in parts[0].items()}
    return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}


def _part(array: Array, first: int, step: int, rows: int) -> Array:
    part = array[first : first + step]
    missing = rows - len(part)
    if missing <= 0:
        return part
    return np.concatenate([part, np.zeros((missing, *array.shape[1:]), array.dtype)])
