"""ONNX operators of Keras's layers.

Keras has channels last and ONNX channels first; convolutions and poolings are put between two
transpositions, which runtimes remove where they cancel out.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from fedbus.errors import TrainingError
from fedbus.frameworks.onnx_file import OnnxGraph
from fedbus.model.layout import Array

Writer = Callable[[OnnxGraph, Any, str], str]
"""Adds a layer's nodes after the tensor of a name, and returns the name of the last one."""

_NORM_EPSILON: Final = 1e-7
"""Keras's default `epsilon`, the least standard deviation of a `Normalization`."""


def _same(_graph: OnnxGraph, _layer: Any, x: str) -> str:  # noqa: ANN401 - Keras has no types
    return x


def _dense(graph: OnnxGraph, layer: Any, x: str) -> str:  # noqa: ANN401
    return _biased(graph, layer, graph.add("MatMul", x, graph.constant(_array(layer.kernel))))


def _biased(graph: OnnxGraph, layer: Any, x: str) -> str:  # noqa: ANN401
    return graph.add("Add", x, graph.constant(_array(layer.bias))) if layer.use_bias else x


def _conv(graph: OnnxGraph, layer: Any, x: str) -> str:  # noqa: ANN401
    kernel = _array(layer.kernel)  # (…, channels, filters)
    turned = np.moveaxis(kernel, (-1, -2), (0, 1))
    return _convolved(graph, layer, x, turned, layer.groups)


def _depthwise(graph: OnnxGraph, layer: Any, x: str) -> str:  # noqa: ANN401
    kernel = _array(layer.kernel)  # (height, width, channels, multiplier)
    high, wide, channels, times = kernel.shape
    turned = kernel.transpose(2, 3, 0, 1).reshape(channels * times, 1, high, wide)
    return _convolved(graph, layer, x, turned, channels)


def _convolved(graph: OnnxGraph, layer: Any, x: str, kernel: Array, groups: int) -> str:  # noqa: ANN401
    bias = [graph.constant(_array(layer.bias))] if layer.use_bias else []
    inputs = (_channels_first(graph, layer, x), graph.constant(kernel), *bias)
    y = graph.add(
        "Conv",
        *inputs,
        auto_pad=_padding(layer),
        strides=list(layer.strides),
        dilations=list(layer.dilation_rate),
        group=groups,
        kernel_shape=list(kernel.shape[2:]),
    )
    return _channels_last(graph, layer, y)


def _pool(operator: str) -> Writer:
    def write(graph: OnnxGraph, layer: Any, x: str) -> str:  # noqa: ANN401 - Keras has no types
        y = graph.add(
            operator,
            _channels_first(graph, layer, x),
            auto_pad=_padding(layer),
            kernel_shape=list(layer.pool_size),
            strides=list(layer.strides),
        )
        return _channels_last(graph, layer, y)

    return write


def _padding(layer: Any) -> str:  # noqa: ANN401
    if layer.padding not in {"same", "valid"}:
        raise TrainingError(
            f"{layer.name}: cannot be exported to ONNX with {layer.padding} padding"
        )
    return "SAME_UPPER" if layer.padding == "same" else "VALID"


def _channels_first(graph: OnnxGraph, layer: Any, x: str) -> str:  # noqa: ANN401
    rank = len(layer.input.shape)
    return graph.add("Transpose", x, perm=[0, rank - 1, *range(1, rank - 1)])


def _channels_last(graph: OnnxGraph, layer: Any, x: str) -> str:  # noqa: ANN401
    rank = len(layer.input.shape)
    return graph.add("Transpose", x, perm=[0, *range(2, rank), 1])


def _reduce(operator: str) -> Writer:
    def write(graph: OnnxGraph, layer: Any, x: str) -> str:  # noqa: ANN401 - Keras has no types
        axes = graph.constant(np.arange(1, len(layer.input.shape) - 1, dtype=np.int64))
        return graph.add(operator, x, axes, keepdims=int(layer.keepdims))

    return write


def _zero_padding(graph: OnnxGraph, layer: Any, x: str) -> str:  # noqa: ANN401
    (top, bottom), (left, right) = layer.padding
    pads = np.array([0, top, left, 0, 0, bottom, right, 0], np.int64)
    return graph.add("Pad", x, graph.constant(pads))


def _flatten(graph: OnnxGraph, _layer: Any, x: str) -> str:  # noqa: ANN401
    return graph.add("Flatten", x, axis=1)


def _reshape(graph: OnnxGraph, layer: Any, x: str) -> str:  # noqa: ANN401
    shape = np.array([-1, *layer.output.shape[1:]], np.int64)
    return graph.add("Reshape", x, graph.constant(shape))


def _relu(graph: OnnxGraph, layer: Any, x: str) -> str:  # noqa: ANN401
    if float(layer.threshold or 0):
        raise TrainingError(f"{layer.name}: cannot be exported to ONNX with a threshold")
    slope = float(layer.negative_slope or 0)
    y = graph.add("LeakyRelu", x, alpha=slope) if slope else graph.add("Relu", x)
    if layer.max_value is None:
        return y
    return graph.add("Min", y, graph.constant(np.asarray(layer.max_value, np.float32)))


def _softmax(graph: OnnxGraph, layer: Any, x: str) -> str:  # noqa: ANN401
    return graph.add("Softmax", x, axis=int(layer.axis))


def _rescaling(graph: OnnxGraph, layer: Any, x: str) -> str:  # noqa: ANN401
    scaled = graph.add("Mul", x, graph.constant(np.asarray(layer.scale, np.float32)))
    return graph.add("Add", scaled, graph.constant(np.asarray(layer.offset, np.float32)))


def _normalization(graph: OnnxGraph, layer: Any, x: str) -> str:  # noqa: ANN401
    if layer.invert:
        raise TrainingError(f"{layer.name}: cannot be exported to ONNX with invert")
    spread = np.maximum(np.sqrt(_array(layer.variance)), np.float32(_NORM_EPSILON))
    centered = graph.add("Sub", x, graph.constant(_array(layer.mean)))
    return graph.add("Div", centered, graph.constant(spread))


def _batch_norm(graph: OnnxGraph, layer: Any, x: str) -> str:  # noqa: ANN401
    """Multiply and add what the moving means and variances are at this version."""
    axis = layer.axis if isinstance(layer.axis, int) else layer.axis[0]
    rank = len(layer.input.shape)
    wide = [1] * rank
    wide[axis] = -1
    scale = 1 / np.sqrt(_array(layer.moving_variance) + np.float32(layer.epsilon))
    if layer.scale:
        scale = scale * _array(layer.gamma)
    offset = -_array(layer.moving_mean) * scale
    if layer.center:
        offset = offset + _array(layer.beta)
    y = graph.add("Mul", x, graph.constant(scale.reshape(wide)))
    return graph.add("Add", y, graph.constant(offset.reshape(wide)))


def _layer_norm(graph: OnnxGraph, layer: Any, x: str) -> str:  # noqa: ANN401
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    last = len(layer.input.shape) - 1
    if [axis % (last + 1) for axis in axes] != [last] or getattr(layer, "rms_scaling", False):
        raise TrainingError(
            f"{layer.name}: can be exported to ONNX over the last axis only, without rms_scaling"
        )
    width = int(layer.input.shape[-1])
    scale = _array(layer.gamma) if layer.scale else np.ones(width, np.float32)
    shift = [graph.constant(_array(layer.beta))] if layer.center else []
    inputs = (x, graph.constant(scale), *shift)
    return graph.add("LayerNormalization", *inputs, axis=-1, epsilon=float(layer.epsilon))


def _embedding(graph: OnnxGraph, layer: Any, x: str) -> str:  # noqa: ANN401
    if layer.mask_zero:
        raise TrainingError(f"{layer.name}: cannot be exported to ONNX with mask_zero")
    words = graph.add("Cast", x, to=_INT64)
    return graph.add("Gather", graph.constant(_array(layer.embeddings)), words, axis=0)


def _array(variable: Any) -> Array:  # noqa: ANN401 - Keras has no types
    return np.asarray(variable, np.float32)


_INT64: Final = 7
"""The number of ONNX's element type of 64-bit whole numbers."""

WRITERS: Final[Mapping[str, Writer]] = {
    "Activation": _same,
    "AveragePooling1D": _pool("AveragePool"),
    "AveragePooling2D": _pool("AveragePool"),
    "BatchNormalization": _batch_norm,
    "Conv1D": _conv,
    "Conv2D": _conv,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise,
    "Dropout": _same,
    "Embedding": _embedding,
    "Flatten": _flatten,
    "GlobalAveragePooling1D": _reduce("ReduceMean"),
    "GlobalAveragePooling2D": _reduce("ReduceMean"),
    "GlobalMaxPooling1D": _reduce("ReduceMax"),
    "GlobalMaxPooling2D": _reduce("ReduceMax"),
    "InputLayer": _same,
    "LayerNormalization": _layer_norm,
    "MaxPooling1D": _pool("MaxPool"),
    "MaxPooling2D": _pool("MaxPool"),
    "Normalization": _normalization,
    "ReLU": _relu,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "Softmax": _softmax,
    "ZeroPadding2D": _zero_padding,
}
"""By Keras's own names; the activation of a layer that has one is added after it."""
