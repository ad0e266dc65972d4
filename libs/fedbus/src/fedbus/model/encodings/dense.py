"""Dense data: every number of each tensor, little-endian, in order and without gaps. Pure."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from fedbus.errors import LayoutError
from fedbus.model.encodings.blob_encoding import Data, Read, SizeBounds, TensorBlock
from fedbus.model.layout import Array, Layout, Tensor, Weights, check_arrays


class Dense:
    """What encodings without compression have in common; they differ in their tensors."""

    def tensors(self, layout: Layout) -> tuple[Tensor, ...]:
        """Return the tensors in the data, in their order; all of the layout by default."""
        return layout.tensors

    def bounds(self, layout: Layout) -> SizeBounds:
        """Return the one size that data of a layout have."""
        size = sum(tensor.size for tensor in self.tensors(layout))
        return SizeBounds(size, size)

    def verify(self, size: int, layout: Layout) -> None:
        """Raise LayoutError unless data have the size of their layout."""
        expected = self.bounds(layout).most
        if size != expected:
            raise LayoutError(
                f"a blob of {size} bytes after its header; its layout makes {expected}"
            )

    def check(self, weights: Weights, layout: Layout) -> None:
        """Raise LayoutError unless arrays have the names, shapes and dtypes of the data."""
        check_arrays(weights, self.tensors(layout))

    def encode(self, weights: Weights, layout: Layout, data: memoryview) -> None:
        """Copy arrays into the data of a new blob."""
        for name, view in self.decode(data, layout).items():
            np.copyto(view, weights[name])

    def decode(self, data: Data, layout: Layout) -> dict[str, Array]:
        """Return views of the tensors: read-only if the data are."""
        views, offset = {}, 0
        for tensor in self.tensors(layout):
            numbers = np.frombuffer(data, _little_endian(tensor), tensor.numbers, offset)
            views[tensor.name] = numbers.reshape(tensor.shape)
            offset += tensor.size
        return views

    def blocks(self, read: Read, layout: Layout, numbers: int) -> Iterator[TensorBlock]:
        """Read the data in blocks of at most `numbers` numbers."""
        offset = 0
        for tensor in self.tensors(layout):
            dtype = _little_endian(tensor)
            for at in range(0, tensor.numbers, numbers):
                length = min(numbers, tensor.numbers - at) * dtype.itemsize
                part = read(offset + at * dtype.itemsize, length)
                yield TensorBlock(tensor, at, np.frombuffer(part, dtype))
            offset += tensor.size


def _little_endian(tensor: Tensor) -> np.dtype[Any]:
    return np.dtype(tensor.dtype).newbyteorder("<")
