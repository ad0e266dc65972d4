"""Optimizer state of a `.tflite` file as named arrays."""

from collections.abc import Mapping

import numpy as np

from fedbus.errors import TrainingError
from fedbus.frameworks.stateful import MADE_BY, check_maker
from fedbus.frameworks.tflite.file import Signature
from fedbus.model.layout import Array
from fedbus.training.params import TrainingParams


def has_state(params: TrainingParams) -> bool:
    """Return whether the optimizer keeps any state."""
    return params.optimizer == "adam" or params.number("momentum", 0.0) != 0


def state_arrays(get_state: Signature | None, params: TrainingParams) -> dict[str, Array]:
    """Copy the optimizer state out of the file."""
    held = get_state() if get_state is not None and has_state(params) else {}
    # The runtime returns arrays without dimensions as plain numbers.
    arrays = {name: np.asarray(value) for name, value in held.items()}
    return {MADE_BY: np.array(_maker(params)), **arrays}


def restore_state(
    set_state: Signature | None, arrays: Mapping[str, Array], params: TrainingParams
) -> None:
    """Copy a state into the file; raise TrainingError if it is damaged or of another model."""
    check_maker(arrays, _maker(params))
    if set_state is None or not has_state(params):
        return
    held = {name: array for name, array in arrays.items() if name != MADE_BY}
    wanted = set_state.get_input_details()
    shapes = {name: tuple(map(int, about["shape"])) for name, about in wanted.items()}
    if shapes != {name: array.shape for name, array in held.items()}:
        raise TrainingError("the optimizer state is damaged, or of another model")
    set_state(**{n: np.asarray(a, wanted[n]["dtype"]) for n, a in held.items()})


def _maker(params: TrainingParams) -> str:
    """Return the parts of the parameters that decide which arrays the state has."""
    return f"tflite {(params.optimizer, sorted(params.optimizer_args))}"
