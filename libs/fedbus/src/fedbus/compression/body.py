"""Body of a compressed blob: what its bytes are, before zstandard. Pure.

    the tensors that are not trained, each in the dtype of the content, in the order of the layout
    the indices of the trained numbers that are sent (`number_selection.py`)
    those numbers (`number_coding.py`)

The trained numbers are those of all trained tensors, one after another, without the frozen ones.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedbus.compression.chain import Chain
from fedbus.compression.index_codes import Indices
from fedbus.compression.number_coding import Part
from fedbus.errors import LayoutError
from fedbus.model.blob import BLOCK_NUMBERS
from fedbus.model.encodings import SizeBounds
from fedbus.model.frozen_bits import FrozenBits
from fedbus.model.layout import Layout, Tensor
from fedbus.model.sections import trained_tensors

Content = Literal["delta", "plain"]
"""The encoding of the blob that is compressed: an update, or the weights of a version."""

Frozen = NDArray[np.bool_]
"""Shape (trained numbers,): which of them are not sent."""


@dataclass(frozen=True)
class Body:
    """The tensors of a body, and which trained numbers are frozen; None: none of them."""

    layout: Layout
    content: Content = "delta"
    frozen: Frozen | FrozenBits | None = None

    def __post_init__(self) -> None:
        """Raise LayoutError if `frozen` is not one flag for each trained number."""
        frozen, numbers = self.frozen, self.trained_numbers
        if isinstance(frozen, FrozenBits):
            if frozen.numbers != numbers:
                raise LayoutError(f"expected {numbers} frozen bits, got {frozen.numbers}")
        elif frozen is not None and (frozen.shape != (numbers,) or frozen.dtype != np.bool_):
            raise LayoutError(
                f"expected {numbers} flags of frozen numbers, got {frozen.dtype} {frozen.shape}"
            )

    @cached_property
    def trained(self) -> tuple[Tensor, ...]:
        """The trained tensors, in the order of the layout."""
        return trained_tensors(self.layout)

    @cached_property
    def dense(self) -> tuple[Tensor, ...]:
        """All other tensors of the content, which are sent as they are."""
        trained = {tensor.name for tensor in self.trained}
        tensors = self.layout.shared if self.content == "delta" else self.layout.tensors
        return tuple(tensor for tensor in tensors if tensor.name not in trained)

    @cached_property
    def trained_numbers(self) -> int:
        """How many trained numbers there are, frozen ones included."""
        return sum(tensor.numbers for tensor in self.trained)

    @cached_property
    def free_numbers(self) -> int:
        """How many trained numbers are not frozen."""
        return self.free_between(0, self.trained_numbers)

    @cached_property
    def dtype(self) -> str:
        """The dtype that holds all trained numbers: float32, or float64 if a tensor is."""
        wide = any(tensor.dtype == "float64" for tensor in self.trained)
        return "float64" if wide else "float32"

    @property
    def dense_bytes(self) -> int:
        """Bytes of the tensors that are sent as they are."""
        return sum(tensor.size for tensor in self.dense)

    def sent(self, indices: Indices | None) -> tuple[Part, ...]:
        """Return how many numbers of each trained tensor are sent; None: all that are free."""
        ends = np.cumsum(self.free_by_tensor, dtype=np.int64)
        if indices is not None:
            ends = np.searchsorted(indices, ends)
        return self.parts(np.diff(ends, prepend=0))

    def parts(self, counts: Iterable[int]) -> tuple[Part, ...]:
        """Return parts of this many numbers of each trained tensor."""
        pairs = zip(self.trained, counts, strict=True)
        return tuple(Part(tensor.dtype, int(count)) for tensor, count in pairs)

    @cached_property
    def free_by_tensor(self) -> tuple[int, ...]:
        """How many numbers of each trained tensor are not frozen."""
        made, start = [], 0
        for tensor in self.trained:
            made.append(self.free_between(start, start + tensor.numbers))
            start += tensor.numbers
        return tuple(made)

    def free(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Return for each trained number from `start` to `stop` whether it is not frozen."""
        match self.frozen:
            case None:
                return np.ones(stop - start, np.bool_)
            case FrozenBits() as bits:
                return ~bits.read(start, stop - start)
            case flags:
                return ~flags[start:stop]

    def free_between(self, start: int, stop: int) -> int:
        """Return how many of the trained numbers from `start` to `stop` are not frozen."""
        if self.frozen is None:
            return stop - start
        blocks = ((at, min(at + BLOCK_NUMBERS, stop)) for at in range(start, stop, BLOCK_NUMBERS))
        return sum(int(np.count_nonzero(self.free(*block))) for block in blocks)


def body_bounds(body: Body, chain: Chain, frozen_count: int) -> SizeBounds:
    """Return the least and the most bytes of a body with this number of frozen numbers."""
    free = body.trained_numbers - frozen_count
    if not 0 <= free <= body.trained_numbers:
        raise LayoutError(f"{frozen_count} frozen numbers of {body.trained_numbers}")
    count, indices = free, SizeBounds(0, 0)
    if chain.selection is not None:
        count, indices = chain.selection.count(free), chain.selection.bounds(free)
    sizes = [chain.coding.size(parts) for parts in _extreme_parts(body, count)]
    fixed = body.dense_bytes
    return SizeBounds(fixed + indices.least + min(sizes), fixed + indices.most + max(sizes))


def _extreme_parts(body: Body, count: int) -> tuple[tuple[Part, ...], ...]:
    """Return the parts of `count` numbers that take the fewest and the most bytes."""
    ascending = sorted(body.trained, key=lambda tensor: np.dtype(tensor.dtype).itemsize)
    return _filled(ascending, count), _filled(ascending[::-1], count)


def _filled(tensors: list[Tensor], count: int) -> tuple[Part, ...]:
    parts = []
    for tensor in tensors:
        taken = min(count, tensor.numbers)
        parts.append(Part(tensor.dtype, taken))
        count -= taken
    return tuple(parts)
