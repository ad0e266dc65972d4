"""Recurrent layers of Keras as ONNX operators.

ONNX puts the gates in another order than Keras, transposes the kernels, and takes sequences with
the steps before the rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from fedbus.errors import TrainingError
from fedbus.frameworks.onnx_file import OnnxGraph
from fedbus.model.layout import Array

RECURRENT: Final[Mapping[str, tuple[str, Sequence[int]]]] = {
    "GRU": ("GRU", (0, 1, 2)),
    "LSTM": ("LSTM", (0, 3, 1, 2)),
    "SimpleRNN": ("RNN", (0,)),
}
"""The operator of each layer, and where each of its gates stands in Keras's kernels."""
_ACTIVATIONS: Final[Mapping[str, str]] = {
    "relu": "Relu", "sigmoid": "Sigmoid", "softsign": "Softsign", "tanh": "Tanh",
}  # fmt: skip
_FIXED: Final[Mapping[str, object]] = {
    "recurrent_activation": "sigmoid", "go_backwards": False, "stateful": False,
    "return_state": False, "reset_after": True,
}  # fmt: skip
"""Arguments that must have these values, which are Keras's defaults."""


def add_recurrent(graph: OnnxGraph, where: str, layer: Any, x: str) -> str:  # noqa: ANN401 - Keras has no types
    """Add an LSTM, a GRU or a simple recurrent layer after a tensor of shape (rows, steps, width).

    Raises:
        TrainingError: It has an argument that cannot be exported.
    """
    config, kind = layer.get_config(), type(layer).__name__
    for name, value in _FIXED.items():
        if config.get(name, value) != value:
            raise TrainingError(f"{where}: cannot be exported to ONNX with {name} {config[name]}")
    own = config.get("activation", "tanh")
    if own not in _ACTIVATIONS:
        raise TrainingError(
            f"{where}: the activation {own!r} cannot be exported to ONNX; "
            f"{', '.join(_ACTIVATIONS)} can"
        )
    operator, order = RECURRENT[kind]
    kernel, recurrent = (
        graph.constant(_gates(np.asarray(each, np.float32).T, order)[None])
        for each in (layer.cell.kernel, layer.cell.recurrent_kernel)
    )
    bias = graph.constant(_biases(layer, order)[None])
    act = _ACTIVATIONS[own]
    acts = {"GRU": ["Sigmoid", act], "LSTM": ["Sigmoid", act, act], "SimpleRNN": [act]}[kind]
    more = {"linear_before_reset": 1} if kind == "GRU" else {}
    attributes = {"hidden_size": int(layer.units), "activations": acts, **more}
    steps = graph.add("Transpose", x, perm=[1, 0, 2])
    every, last = graph.add_many(operator, (steps, kernel, recurrent, bias), 2, attributes)
    if config.get("return_sequences"):
        one = graph.add("Squeeze", every, graph.constant(np.array([1], np.int64)))
        return graph.add("Transpose", one, perm=[1, 0, 2])
    return graph.add("Squeeze", last, graph.constant(np.array([0], np.int64)))


def _gates(array: Array, order: Sequence[int]) -> Array:
    """Put the gates along the first dimension into ONNX's order."""
    parts = np.split(array, len(order))
    return np.concatenate([parts[number] for number in order])


def _biases(layer: Any, order: Sequence[int]) -> Array:  # noqa: ANN401 - Keras has no types
    """Return the biases of inputs and of the state beside each other; Keras may have the first."""
    count = len(order) * int(layer.units)
    if not layer.use_bias:
        return np.zeros(2 * count, np.float32)
    own = np.asarray(layer.cell.bias, np.float32)
    own = own if own.ndim > 1 else np.stack([own, np.zeros_like(own)])
    return np.concatenate([_gates(each, order) for each in own])
