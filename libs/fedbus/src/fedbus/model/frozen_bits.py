"""Bits that say which trained numbers of a model are frozen, and the blob that holds them. Pure.

There is one bit for each number of the trained tensors, in the order of a section
(`model/sections.py`), eight in a byte, the first in the highest bit. The blob is a plain one, of
the layout that `frozen_layout` returns: so each receiver knows its size beforehand.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedbus.errors import LayoutError
from fedbus.model.blob import decode, encode
from fedbus.model.blob_header import Blob
from fedbus.model.layout import Layout, Tensor
from fedbus.model.sections import section_numbers

FROZEN_TENSOR: Final = "frozen"
"""The name of the only tensor in a blob of frozen bits."""
_BLOCK_BYTES: Final = 1024 * 1024


def frozen_layout(layout: Layout) -> Layout:
    """Return the layout of a model's frozen bits; raise LayoutError if no tensor is trained."""
    return Layout((Tensor(FROZEN_TENSOR, (-(-section_numbers(layout) // 8),), "uint8"),))


class FrozenBits:
    """One bit for each trained number: whether it is frozen.

    Args:
        numbers: The trained numbers of the model.
        packed: The bits, shape (⌈numbers / 8⌉,); None: no number is frozen.

    Raises:
        LayoutError: The array has another length, or bits after the last number.
    """

    def __init__(self, numbers: int, packed: NDArray[np.uint8] | None = None) -> None:
        length = -(-numbers // 8)
        self.numbers = numbers
        self.packed = np.zeros(length, np.uint8) if packed is None else packed
        if self.packed.shape != (length,):
            raise LayoutError(
                f"frozen bits of {self.packed.size} bytes; {numbers} numbers have {length}"
            )
        if numbers % 8 and int(self.packed[-1]) & (0xFF >> numbers % 8):
            raise LayoutError(f"frozen bits with bits after the last of {numbers} numbers")

    @classmethod
    def of_blob(cls, blob: Blob, layout: Layout) -> "FrozenBits":
        """Copy the bits out of their blob; `layout` is the model's.

        Raises:
            LayoutError: The blob is not one of this model's frozen bits.
        """
        packed = decode(blob, frozen_layout(layout), "plain")[FROZEN_TENSOR]
        return cls(section_numbers(layout), packed.copy())

    def blob(self, layout: Layout) -> bytearray:
        """Return the blob of the bits; `layout` is the model's."""
        return encode({FROZEN_TENSOR: self.packed}, frozen_layout(layout))

    @property
    def count(self) -> int:
        """How many numbers are frozen."""
        parts = (
            np.unpackbits(self.packed[at : at + _BLOCK_BYTES]).sum(dtype=np.int64)
            for at in range(0, self.packed.size, _BLOCK_BYTES)
        )
        return int(sum(parts))

    def read(self, at: int, numbers: int) -> NDArray[np.bool_]:
        """Return the bits of `numbers` numbers from position `at` on."""
        first = at // 8
        bits = np.unpackbits(self.packed[first : -(-(at + numbers) // 8)])
        return bits[at - 8 * first : at - 8 * first + numbers].astype(np.bool_)

    def freeze(self, at: int, bits: NDArray[np.bool_]) -> None:
        """Freeze those of the numbers from position `at` on whose bit is set."""
        added = np.packbits(np.concatenate([np.zeros(at % 8, np.bool_), bits]))
        self.packed[at // 8 : at // 8 + added.size] |= added
