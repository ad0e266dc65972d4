"""Layers forwards and backwards, out of operators that TFLite has built in.

TensorFlow's own gradients of convolutions, poolings and rectifiers (`Conv2DBackpropFilter`,
`MaxPoolGrad`, `ReluGrad` …) have no counterpart there. So each step here gives its outputs and the
function that turns their gradient into that of its inputs and weights. A window's tap is a strided
slice of the inputs: one matrix product for each makes a filter's gradient. All tensors are float32
and (rows, …); only the number of rows is unknown.
"""

# TensorFlow has no types, so all that comes from it is Any.
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import tensorflow as tf

Back = Callable[[Any], tuple[Any, list[Any]]]
"""From the outputs' gradient to that of the inputs, and those of the weights in their order."""
Step = Callable[[Any, Sequence[Any]], tuple[Any, Back]]
"""From inputs and weights to outputs and the way back."""

_LOWEST: Final = float(np.finfo(np.float32).min)


@dataclass(frozen=True, slots=True)
class Window:
    """How a window moves over pictures of (height, width): all of it is known beforehand."""

    size: tuple[int, int]
    strides: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]
    rows: tuple[int, int]
    """Height and width of the inputs."""
    out: tuple[int, int]

    @classmethod
    def over(
        cls, rows: tuple[int, int], size: tuple[int, int], strides: tuple[int, int], padding: str
    ) -> "Window":
        """Pad as TensorFlow does: `same` adds the odd row below and the odd column to the right."""
        if padding == "valid":
            out = tuple((n - k) // s + 1 for n, k, s in zip(rows, size, strides, strict=True))
            return cls(size, strides, (0, 0), (0, 0), rows, (out[0], out[1]))
        out = tuple(-(-n // s) for n, s in zip(rows, strides, strict=True))
        pads = [
            max((o - 1) * s + k - n, 0) for n, k, s, o in zip(rows, size, strides, out, strict=True)
        ]
        before = (pads[0] // 2, pads[1] // 2)
        after = (pads[0] - before[0], pads[1] - before[1])
        return cls(size, strides, before, after, rows, (out[0], out[1]))

    def padded(self, x: Any, value: float = 0.0) -> Any:  # noqa: ANN401 - a tensor
        """Put the padding around inputs."""
        (top, left), (bottom, right) = self.before, self.after
        if not any((top, left, bottom, right)):
            return x
        edges = [[0, 0], [top, bottom], [left, right], [0, 0]]
        return tf.pad(x, edges, constant_values=value)

    def taps(self, padded: Any) -> Iterator[tuple[tuple[int, int], Any]]:  # noqa: ANN401 - a tensor
        """Give, for each place in the window, what lies under it: (rows, *out, channels)."""
        (down, right), (high, wide) = self.strides, self.out
        for i in range(self.size[0]):
            for j in range(self.size[1]):
                to = i + (high - 1) * down + 1, j + (wide - 1) * right + 1
                yield (i, j), padded[:, i : to[0] : down, j : to[1] : right, :]

    def spread(self, g: Any) -> Any:  # noqa: ANN401 - a tensor
        """Put the outputs' gradient where their windows begin, and zeros between."""
        (high, wide), (down, right), channels = self.out, self.strides, int(g.shape[-1])
        if down > 1:
            g = tf.reshape(g, (-1, high, 1, wide * channels))
            g = tf.pad(g, [[0, 0], [0, 0], [0, down - 1], [0, 0]])
            g = tf.reshape(g, (-1, high * down, wide, channels))[:, : (high - 1) * down + 1]
            high = (high - 1) * down + 1
        if right > 1:
            g = tf.reshape(g, (-1, wide, 1, channels))
            g = tf.pad(g, [[0, 0], [0, 0], [0, right - 1], [0, 0]])
            g = tf.reshape(g, (-1, high, wide * right, channels))
            g = g[:, :, : (wide - 1) * right + 1]
        return g

    def put(self, spread: Any, tap: tuple[int, int]) -> Any:  # noqa: ANN401 - a tensor
        """Shift a spread gradient to one place of the window, on pictures of the padded size."""
        edges = [[0, 0]]
        for at, n, pads, length in zip(
            tap,
            self.rows,
            zip(self.before, self.after, strict=True),
            spread.shape[1:3],
            strict=True,
        ):
            edges.append([at, n + sum(pads) - at - int(length)])
        return tf.pad(spread, [*edges, [0, 0]])

    def around(self, spread: Any) -> Any:  # noqa: ANN401 - a tensor
        """Pad a spread gradient so that a window over it gives one value for each input."""
        edges = [
            [k - 1 - pad, n + pad - int(length)]
            for k, pad, n, length in zip(
                self.size, self.before, self.rows, spread.shape[1:3], strict=True
            )
        ]
        return tf.pad(spread, [[0, 0], *edges, [0, 0]])

    def cut(self, padded: Any) -> Any:  # noqa: ANN401 - a tensor
        """Take the padding off again."""
        (top, left), (high, wide) = self.before, self.rows
        return padded[:, top : top + high, left : left + wide, :]


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
    """Make a convolution; weights: (height, width, channels, filters) and perhaps (filters,)."""

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
            # Reversed along one axis: tflite-runtime forgets the second of two, and says nothing.
            turned = tf.reverse(tf.reshape(kernel, (-1, *shape[2:])), [0])
            turned = tf.transpose(tf.reshape(turned, shape), (0, 1, 3, 2))
            dx = tf.nn.conv2d(window.around(window.spread(g)), turned, (1, 1), "VALID")
            dw = tf.reshape(tf.stack(taps), shape)
            return dx, [dw, *([tf.reduce_sum(flat, axis=0)] if bias else [])]

        return (y + bias[0] if bias else y), back

    return step


def depthwise(window: Window) -> Step:
    """Make a convolution of each channel apart; weights: (height, width, channels, times), …."""

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
    """Make a pooling by the largest; of equals the first in the window has the gradient."""

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
    """Make a pooling by the mean of what lies in the picture; padding does not count."""
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
    """Lay each row out in one line."""
    shape = (-1, *(int(n) for n in x.shape[1:]))
    return tf.reshape(x, (-1, int(np.prod(shape[1:])))), lambda g: (tf.reshape(g, shape), [])


def relu(x: Any, _: Sequence[Any]) -> tuple[Any, Back]:  # noqa: ANN401 - tensors
    """Rectify."""
    return tf.nn.relu(x), lambda g: (g * tf.cast(x > 0, tf.float32), [])


def softmax(x: Any, _: Sequence[Any]) -> tuple[Any, Back]:  # noqa: ANN401 - tensors
    """Make shares of scores."""
    y = tf.nn.softmax(x)
    return y, lambda g: (y * (g - tf.reduce_sum(g * y, axis=-1, keepdims=True)), [])


def dropout(rate: float, salt: int, draw: Any) -> Step:  # noqa: ANN401 - a tensor
    """Drop a share of the inputs, by a number `draw` that is another one at every step.

    What decides is frac(43758.5 · sin(…)) of row, place and draw, the hash of graphics programs:
    TFLite's own random numbers cannot be seeded from outside, so no training could be repeated.
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
