"""Windows of convolutions and poolings over images, and gradients spread back to their inputs.

All tensors are float32, of shape (rows, height, width, channels); only the number of rows is
unknown when a model is exported.
"""

# TensorFlow has no types, so all that comes from it is Any.
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf


@dataclass(frozen=True, slots=True)
class Window:
    """A window that moves over images; pairs are (height, width)."""

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
        """Create a window, padded as in TensorFlow: `same` pads more at the bottom and right."""
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
        """Pad inputs."""
        (top, left), (bottom, right) = self.before, self.after
        if not any((top, left, bottom, right)):
            return x
        edges = [[0, 0], [top, bottom], [left, right], [0, 0]]
        return tf.pad(x, edges, constant_values=value)

    def taps(self, padded: Any) -> Iterator[tuple[tuple[int, int], Any]]:  # noqa: ANN401 - a tensor
        """Yield, for each position in the window, the inputs under it: (rows, *out, channels)."""
        (down, right), (high, wide) = self.strides, self.out
        for i in range(self.size[0]):
            for j in range(self.size[1]):
                to = i + (high - 1) * down + 1, j + (wide - 1) * right + 1
                yield (i, j), padded[:, i : to[0] : down, j : to[1] : right, :]

    def spread(self, g: Any) -> Any:  # noqa: ANN401 - a tensor
        """Place the gradient of the outputs where their windows begin, with zeros between."""
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
        """Shift a spread gradient to one position of the window, on images of the padded size."""
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
        """Pad a spread gradient so that a window over it yields one value for each input."""
        edges = [
            [k - 1 - pad, n + pad - int(length)]
            for k, pad, n, length in zip(
                self.size, self.before, self.rows, spread.shape[1:3], strict=True
            )
        ]
        return tf.pad(spread, [[0, 0], *edges, [0, 0]])

    def cut(self, padded: Any) -> Any:  # noqa: ANN401 - a tensor
        """Remove the padding."""
        (top, left), (high, wide) = self.before, self.rows
        return padded[:, top : top + high, left : left + wide, :]
