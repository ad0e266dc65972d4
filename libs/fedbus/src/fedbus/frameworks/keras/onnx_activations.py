"""Activation functions of Keras as ONNX operators. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from fedbus.errors import TrainingError
from fedbus.frameworks.onnx_file import OnnxGraph

_LEAK: Final = 0.2
"""Slope of Keras's `leaky_relu` below zero."""


def _operator(name: str, **attributes: Any) -> Callable[[OnnxGraph, str], str]:  # noqa: ANN401 - of any type
    return lambda graph, x: graph.add(name, x, **attributes)


def _relu6(graph: OnnxGraph, x: str) -> str:
    limits = (graph.constant(np.asarray(number, np.float32)) for number in (0, 6))
    return graph.add("Clip", x, *limits)


def _silu(graph: OnnxGraph, x: str) -> str:
    return graph.add("Mul", x, graph.add("Sigmoid", x))


ACTIVATIONS: Final[Mapping[str, Callable[[OnnxGraph, str], str]]] = {
    "elu": _operator("Elu", alpha=1.0),
    "exponential": _operator("Exp"),
    "gelu": _operator("Gelu"),
    "hard_sigmoid": _operator("HardSigmoid", alpha=1 / 6, beta=0.5),
    "leaky_relu": _operator("LeakyRelu", alpha=_LEAK),
    "linear": lambda _graph, x: x,
    "relu": _operator("Relu"),
    "relu6": _relu6,
    "selu": _operator("Selu"),
    "sigmoid": _operator("Sigmoid"),
    "silu": _silu,
    "softmax": _operator("Softmax", axis=-1),
    "softplus": _operator("Softplus"),
    "softsign": _operator("Softsign"),
    "swish": _silu,
    "tanh": _operator("Tanh"),
}
"""By Keras's own names."""


def add_activation(graph: OnnxGraph, where: str, activation: object, x: str) -> str:
    """Add an activation after a tensor; raise TrainingError for one that is not known."""
    if activation is None:
        return x
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise TrainingError(
            f"{where}: the activation {activation!r} cannot be exported to ONNX; {known} can"
        )
    return ACTIVATIONS[activation](graph, x)
