"""What an optimizer and a callback remember, as named arrays and nothing else."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from fedbus.errors import TrainingError
from fedbus.model.layout import Array
from fedbus.training.params import TrainingParams

MADE_BY: Final = "made_by"
_COUNTERS: Final = ("wait", "best", "cooldown_counter", "stopped_epoch", "best_epoch")
"""What changes in Keras's callbacks; all else follows from the job."""


def counters(callback: Any) -> dict[str, Array]:  # noqa: ANN401 - Keras has no types
    """Take down what a callback has counted, and not the weights it may hold."""
    held = {name: getattr(callback, name, None) for name in _COUNTERS}
    return {f"callback/{n}": np.array(v, np.float64) for n, v in held.items() if v is not None}


def state_arrays(
    optimizer: Any,  # noqa: ANN401 - Keras has no types
    counted: Mapping[str, Array],
    params: TrainingParams,
) -> dict[str, Array]:
    """Copy what a task left; `counted` by its callback."""
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
    """Let an optimizer and a callback go on where others left `arrays`.

    Raises:
        TrainingError: that was another model, or the job said something else.
    """
    was = str(arrays[MADE_BY]) if MADE_BY in arrays else "nobody we know"
    if was != maker(params):
        raise TrainingError(f"the state was kept by {was}; this task wants {maker(params)}")
    for index, variable in enumerate(optimizer.variables):
        array = arrays.get(f"optimizer/{index}")
        if array is None or array.shape != tuple(variable.shape):
            raise TrainingError("the state that was kept is damaged, or of another model")
        variable.assign(array)
    for name in _COUNTERS:
        if (held := arrays.get(f"callback/{name}")) is not None and hasattr(callback, name):
            kind = type(getattr(callback, name))
            setattr(callback, name, int(held) if kind is int else float(held))


def maker(params: TrainingParams) -> str:
    """Say what of a job decides which arrays there are."""
    said = (params.optimizer, sorted(params.optimizer_args), params.scheduler)
    return f"keras {said}"
