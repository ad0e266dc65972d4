"""State of an optimizer and a callback as named arrays."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from fedbus.errors import TrainingError
from fedbus.frameworks.stateful import MADE_BY, check_maker
from fedbus.model.layout import Array
from fedbus.training.params import TrainingParams

_COUNTERS: Final = ("wait", "best", "cooldown_counter", "stopped_epoch", "best_epoch")
"""Attributes of Keras's callbacks that change; all others follow from the job."""


def counters(callback: Any) -> dict[str, Array]:  # noqa: ANN401 - Keras has no types
    """Return the counters of a callback, without the weights that it may hold."""
    held = {name: getattr(callback, name, None) for name in _COUNTERS}
    return {f"callback/{n}": np.array(v, np.float64) for n, v in held.items() if v is not None}


def state_arrays(
    optimizer: Any,  # noqa: ANN401 - Keras has no types
    counted: Mapping[str, Array],
    params: TrainingParams,
) -> dict[str, Array]:
    """Copy the state of an optimizer; `counted` is that of the callback."""
    arrays: dict[str, Array] = {MADE_BY: np.array(maker(params)), **counted}
    for index, variable in enumerate(optimizer.variables):
        arrays[f"optimizer/{index}"] = np.array(variable)
    return arrays


def restore_state(
    optimizer: Any,  # noqa: ANN401 - Keras has no types
    callback: Any,  # noqa: ANN401
    params: TrainingParams,
    arrays: Mapping[str, Array],
) -> None:
    """Load a state; raise TrainingError if it is of another model, optimizer or callback."""
    check_maker(arrays, maker(params))
    for index, variable in enumerate(optimizer.variables):
        array = arrays.get(f"optimizer/{index}")
        if array is None or array.shape != tuple(variable.shape):
            raise TrainingError("the optimizer state is damaged, or of another model")
        variable.assign(array)
    for name in _COUNTERS:
        if (held := arrays.get(f"callback/{name}")) is not None and hasattr(callback, name):
            kind = type(getattr(callback, name))
            setattr(callback, name, int(held) if kind is int else float(held))


def maker(params: TrainingParams) -> str:
    """Return the parts of the parameters that decide which arrays the state has."""
    parts = (params.optimizer, sorted(params.optimizer_args), params.scheduler)
    return f"keras {parts}"
