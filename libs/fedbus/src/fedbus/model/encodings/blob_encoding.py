"""Protocol of an encoding: the data of a blob, which follow its header. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from fedbus.model.layout import Array, Layout, Tensor, Weights

Data: TypeAlias = bytes | bytearray | memoryview

Read = Callable[[int, int], Data]
"""Reads data of a blob: an offset, the number of bytes."""


@dataclass(frozen=True, slots=True)
class SizeBounds:
    """The least and the most bytes that the data of a layout can have in an encoding."""

    least: int
    most: int

    @property
    def text(self) -> str:
        """The bounds in a sentence: `36`, `36 to 80`."""
        return str(self.most) if self.least == self.most else f"{self.least} to {self.most}"


@dataclass(frozen=True, slots=True)
class TensorBlock:
    """Consecutive numbers of a tensor, shape (numbers,): those from flat position `at` on."""

    tensor: Tensor
    at: int
    numbers: Array


class BlobEncoding(Protocol):
    """A way to hold numbers in a blob; one that has parameters is made with them."""

    @property
    def name(self) -> str:
        """The name in the header of a blob."""
        ...

    def bounds(self, layout: Layout, /) -> SizeBounds:
        """Return the sizes that data of a layout can have."""
        ...

    def verify(self, size: int, layout: Layout, /) -> None:
        """Raise LayoutError if data of this size cannot be of this layout; reads nothing."""
        ...

    def check(self, weights: Weights, layout: Layout, /) -> None:
        """Raise LayoutError unless arrays can be encoded for this layout."""
        ...

    def encode(self, weights: Weights, layout: Layout, data: memoryview, /) -> None:
        """Write checked arrays into the data of a new blob: `bounds(layout).most` bytes."""
        ...

    def decode(self, data: Data, layout: Layout, /) -> dict[str, Array]:
        """Return the tensors, in the order of the layout, of data that were verified.

        They are views of the data where the encoding allows it.
        """
        ...

    def blocks(self, read: Read, layout: Layout, numbers: int, /) -> Iterator[TensorBlock]:
        """Read verified data in blocks of at most `numbers` numbers, in the order of the layout."""
        ...
