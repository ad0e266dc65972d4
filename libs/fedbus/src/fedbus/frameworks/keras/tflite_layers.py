"""Layers with their gradients, built from TFLite's builtin operators only.

TensorFlow's own gradients of convolutions, poolings and rectifiers (`Conv2DBackpropFilter`,
`MaxPoolGrad`, `ReluGrad` …) have no TFLite operator. So each step here returns its outputs and a
function that computes the gradients of its inputs and weights from that of the outputs. The
gradient of a filter is one matrix product for each position in the window (`window.py`). All
tensors are float32 of shape (rows, …); only the number of rows is unknown.
"""

# TensorFlow has no types, so all that comes from it is Any.
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import tensorflow as tf

from fedbus.frameworks.keras.window import Window

Back = Callable[[Any], tuple[Any, list[Any]]]
"""Maps the gradient of the outputs to that of the inputs, and those of the weights in order."""
Step = Callable[[Any, Sequence[Any]], tuple[Any, Back]]
"""Maps inputs and weights to outputs, and to the function for the backward pass."""

_LOWEST: Final = float(np.finfo(np.float32).min)


def dense(x: Any, weights: Sequence[Any]) -> tuple[Any, Back]:  # noqa: ANN401 - tensors
    """Multiply by a matrix. x: (rows, inputs); weights: (inputs, units) and perhaps (units,)."""
    kernel, bias = weights[0], weights[1:]
    y = x @ kernel

    def back(g: Any) -> tuple[Any, list[Any]]:  # noqa: ANN401 - tensors
        return tf.matmul(g, kernel, transpose_b=True), [
            tf.matmul(x, g, transpose_a=True),
            *([tf.reduce_sum(g, axis=0)] if bias else []),
        ]

    return (y + bias[0] if bias else y), back


def conv(window: Window) -> Step:
    """Return a convolution; weights: (height, width, channels, filters), optionally (filters,)."""

    def step(x: Any, weights: Sequence[Any]) -> tuple[Any, Back]:  # noqa: ANN401 - tensors
        kernel, bias = weights[0], weights[1:]
        padded, shape = window.padded(x), tuple(kernel.shape)
        y = tf.nn.conv2d(padded, kernel, window.strides, "VALID")

        def back(g: Any) -> tuple[Any, list[Any]]:  # noqa: ANN401 - tensors
            flat = tf.reshape(g, (-1, shape[3]))
            taps = [
                tf.matmul(tf.reshape(tap, (-1, shape[2])), flat, transpose_a=True)
                for _, tap in window.taps(padded)
            ]
            # Reversed along one axis: tflite-runtime silently ignores the second of two.
            turned = tf.reverse(tf.reshape(kernel, (-1, *shape[2:])), [0])
            turned = tf.transpose(tf.reshape(turned, shape), (0, 1, 3, 2))
            dx = tf.nn.conv2d(window.around(window.spread(g)), turned, (1, 1), "VALID")
            dw = tf.reshape(tf.stack(taps), shape)
            return dx, [dw, *([tf.reduce_sum(flat, axis=0)] if bias else [])]

        return (y + bias[0] if bias else y), back

    return step


def depthwise(window: Window) -> Step:
    """Return a depthwise convolution; weights: (height, width, channels, multiplier), …."""

    def step(x: Any, weights: Sequence[Any]) -> tuple[Any, Back]:  # noqa: ANN401 - tensors
        kernel, bias = weights[0], weights[1:]
        padded = window.padded(x)
        high, wide, channels, times = (int(n) for n in kernel.shape)
        y = tf.nn.depthwise_conv2d(padded, kernel, (1, *window.strides, 1), "VALID")

        def back(g: Any) -> tuple[Any, list[Any]]:  # noqa: ANN401 - tensors
            size = (-1, *(int(n) for n in padded.shape[1:3]), channels * times)
            many = tf.reshape(tf.tile(tf.reshape(padded, (-1, 1)), (1, times)), size)
            taps = [tf.reduce_sum(tap * g, axis=(0, 1, 2)) for _, tap in window.taps(many)]
            apart, spread = tf.reshape(kernel, (high, wide, channels * times)), window.spread(g)
            places = [(i, j) for i in range(high) for j in range(wide)]
            dx = tf.add_n([window.put(spread * apart[i, j], (i, j)) for i, j in places])
            if times > 1:
                dx = tf.reduce_sum(tf.reshape(dx, (-1, channels, times)), axis=2)
                dx = tf.reshape(dx, (*size[:3], channels))
            dw = tf.reshape(tf.stack(taps), (high, wide, channels, times))
            return window.cut(dx), [dw, *([tf.reduce_sum(g, axis=(0, 1, 2))] if bias else [])]

        return (y + bias[0] if bias else y), back

    return step


def max_pool(window: Window) -> Step:
    """Return a max pooling; of equal inputs the first in the window gets the gradient."""

    def step(x: Any, _: Sequence[Any]) -> tuple[Any, Back]:  # noqa: ANN401 - tensors
        padded = window.padded(x, _LOWEST)
        y = tf.nn.max_pool2d(padded, window.size, window.strides, "VALID")

        def back(g: Any) -> tuple[Any, list[Any]]:  # noqa: ANN401 - tensors
            free, parts = tf.ones_like(y), []
            for place, tap in window.taps(padded):
                hit = tf.cast(tf.equal(tap, y), tf.float32) * free
                free = free - hit
                parts.append(window.put(window.spread(hit * g), place))
            return window.cut(tf.add_n(parts)), []

        return y, back

    return step


def average_pool(window: Window) -> Step:
    """Return an average pooling, in which padding does not count."""
    inside = np.pad(np.ones(window.rows), list(zip(window.before, window.after, strict=True)))
    (down, right), (high, wide) = window.strides, window.out
    counts = np.zeros((1, high, wide, 1), np.float32)
    for i in range(high):
        for j in range(wide):
            top, left = i * down, j * right
            part = inside[top : top + window.size[0], left : left + window.size[1]]
            counts[0, i, j, 0] = part.sum()
    share = np.float32(window.size[0] * window.size[1]) / counts

    def step(x: Any, _: Sequence[Any]) -> tuple[Any, Back]:  # noqa: ANN401 - tensors
        y = tf.nn.avg_pool2d(window.padded(x), window.size, window.strides, "VALID") * share

        def back(g: Any) -> tuple[Any, list[Any]]:  # noqa: ANN401 - tensors
            spread = window.spread(g / counts)
            places = [(i, j) for i in range(window.size[0]) for j in range(window.size[1])]
            return window.cut(tf.add_n([window.put(spread, place) for place in places])), []

        return y, back

    return step


def flatten(x: Any, _: Sequence[Any]) -> tuple[Any, Back]:  # noqa: ANN401 - tensors
    """Flatten each row."""
    shape = (-1, *(int(n) for n in x.shape[1:]))
    return tf.reshape(x, (-1, int(np.prod(shape[1:])))), lambda g: (tf.reshape(g, shape), [])


def relu(x: Any, _: Sequence[Any]) -> tuple[Any, Back]:  # noqa: ANN401 - tensors
    """Apply a rectified linear unit."""
    return tf.nn.relu(x), lambda g: (g * tf.cast(x > 0, tf.float32), [])


def softmax(x: Any, _: Sequence[Any]) -> tuple[Any, Back]:  # noqa: ANN401 - tensors
    """Apply a softmax over the last axis."""
    y = tf.nn.softmax(x)
    return y, lambda g: (y * (g - tf.reduce_sum(g * y, axis=-1, keepdims=True)), [])


def dropout(rate: float, salt: int, draw: Any) -> Step:  # noqa: ANN401 - a tensor
    """Return a dropout (Srivastava et al. 2014); `draw` is a different number at every step.

    An input is dropped by frac(43758.5 · sin(…)) of row, position and draw, a hash function of
    graphics shaders: TFLite's own random numbers cannot be seeded, so no training could be
    repeated.
    """

    def step(x: Any, _: Sequence[Any]) -> tuple[Any, Back]:  # noqa: ANN401 - tensors
        wide = int(np.prod(x.shape[1:]))
        rows = tf.reshape(tf.cast(tf.range(tf.shape(x)[0]), tf.float32), (-1, 1))
        places = (np.arange(wide, dtype=np.float32) * np.float32(78.233) % (2 * np.pi))[None]
        angle = rows * 12.9898 + places + (draw + 31.0 * salt) * 37.719
        chance = tf.sin(angle) * 43758.547
        kept = tf.cast(chance - tf.floor(chance) >= rate, tf.float32) / (1 - rate)
        mask = tf.reshape(kept, (-1, *(int(n) for n in x.shape[1:])))
        return x * mask, lambda g: (g * mask, [])

    return step
