"""Export of a Keras model as an ONNX file, layer by layer.

Keras's own export needs tf2onnx, whose releases need older versions of protobuf and numpy than the
other packages. So the layers that an architecture may name (`layers.py`) are written as ONNX
operators, each by a function of `onnx_layers.py`.
"""

from typing import Any

import numpy as np

from fedbus.errors import TrainingError
from fedbus.frameworks.keras.architectures import build, check_shapes
from fedbus.frameworks.keras.loading import load_weights
from fedbus.frameworks.keras.onnx_activations import add_activation
from fedbus.frameworks.keras.onnx_layers import WRITERS
from fedbus.frameworks.keras.onnx_recurrent import RECURRENT, add_recurrent
from fedbus.frameworks.onnx_file import INPUT, OnnxGraph, check_outputs, example_rows
from fedbus.model.layout import Weights
from fedbus.training.params import Architecture


def onnx_of(architecture: Architecture, weights: Weights) -> bytes:
    """Return an ONNX file with these weights, whose outputs were compared with the model's.

    Raises:
        TrainingError: The model is not installed here, has a layer that cannot be exported, or the
            file's outputs differ.
        LayoutError: The weights do not fit the model.
    """
    model = build(architecture)
    check_shapes(model)
    if type(model).__name__ != "Sequential":
        raise TrainingError(
            f"keras: only a keras.Sequential can be exported to ONNX, and this is a "
            f"{type(model).__name__}"
        )
    row, result = model.input_shape[1:], model.output_shape[1:]
    if None in row:
        raise TrainingError(f"keras: rows of shape {row}: ONNX files are written for known shapes")
    load_weights(model, weights)
    graph, last = OnnxGraph(), INPUT
    for index, layer in enumerate(model.layers):
        last = _add_layer(graph, f"layer {index}, {type(layer).__name__}", layer, last)
    rows = example_rows(row, model.inputs[0].dtype, _words(model))
    wanted = np.asarray(model(rows, training=False))
    file = graph.file((rows, row), last, (wanted, result))
    check_outputs(file, rows, wanted)
    return file


def _words(model: Any) -> int:  # noqa: ANN401 - Keras has no types
    counts = (layer.input_dim for layer in model.layers if type(layer).__name__ == "Embedding")
    return min(counts, default=0)


def _add_layer(graph: OnnxGraph, where: str, layer: Any, x: str) -> str:  # noqa: ANN401 - Keras has no types
    kind, config = type(layer).__name__, layer.get_config()
    if kind not in WRITERS and kind not in RECURRENT:
        known = ", ".join(sorted({*WRITERS, *RECURRENT}))
        raise TrainingError(f"{where}: cannot be exported to ONNX; these can: {known}")
    if layer.variable_dtype != "float32" or layer.compute_dtype != "float32":
        raise TrainingError(
            f"{where}: cannot be exported to ONNX in {layer.dtype_policy.name}, only in float32"
        )
    if config.get("data_format", "channels_last") != "channels_last":
        raise TrainingError(f"{where}: cannot be exported to ONNX with {config['data_format']}")
    if kind in RECURRENT:
        return add_recurrent(graph, where, layer, x)
    last = WRITERS[kind](graph, layer, x)
    return add_activation(graph, where, config.get("activation", "linear"), last)
