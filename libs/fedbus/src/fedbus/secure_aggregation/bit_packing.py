"""Whole numbers of m bits each in consecutive bytes. Pure.

Numbers are packed in blocks of `BLOCK_NUMBERS`; the last block may have fewer and is filled up with
zeros to a multiple of 64. A block of 64 * g numbers is m * g words of 8 bytes, little-endian: with
the numbers as 64 rows of g and the words as m rows of g, column by column, bit b of row r is bit
r * m + b of the column's words. So one operation of numpy moves one row, and the size is exactly
8 * m bytes for each 64 numbers.
"""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from fedbus.errors import LayoutError
from fedbus.secure_aggregation.mask_streams import BLOCK_NUMBERS, Words, word_type

ReadBytes = Callable[[int, int], bytes | bytearray | memoryview]
"""Reads packed bytes: an offset, the number of bytes."""

_ROWS: Final = 64


def packed_size(numbers: int, bits: int) -> int:
    """Return the bytes of packed numbers."""
    return 8 * bits * -(-numbers // _ROWS)


def pack_block(numbers: Words, bits: int, into: memoryview) -> int:
    """Pack at most `BLOCK_NUMBERS` numbers, each below 2^bits; return the bytes written."""
    size = packed_size(len(numbers), bits)
    columns = -(-len(numbers) // _ROWS)
    rows = np.zeros((_ROWS, columns), np.uint64)
    rows.reshape(-1)[: len(numbers)] = numbers
    words = np.frombuffer(into[:size], "<u8").reshape(bits, columns)
    words[:] = 0
    moved = np.empty(columns, np.uint64)
    for row in range(_ROWS):
        word, shift = divmod(row * bits, 64)
        np.left_shift(rows[row], np.uint64(shift), out=moved)
        words[word] |= moved
        if shift + bits > 64:  # noqa: PLR2004 - bits of a word
            np.right_shift(rows[row], np.uint64(64 - shift), out=moved)
            words[word + 1] |= moved
    return size


def unpack_block(packed: bytes | bytearray | memoryview, count: int, bits: int) -> Words:
    """Return `count` numbers, at most `BLOCK_NUMBERS`, of the type `word_type(bits)`.

    Raises:
        LayoutError: What fills the block up is not zero.
    """
    columns = -(-count // _ROWS)
    words = np.frombuffer(packed, "<u8").reshape(bits, columns)
    rows = np.empty((_ROWS, columns), np.uint64)
    moved = np.empty(columns, np.uint64)
    for row in range(_ROWS):
        word, shift = divmod(row * bits, 64)
        np.right_shift(words[word], np.uint64(shift), out=rows[row])
        if shift + bits > 64:  # noqa: PLR2004 - as above
            np.left_shift(words[word + 1], np.uint64(64 - shift), out=moved)
            rows[row] |= moved
    rows &= np.uint64((1 << bits) - 1)
    numbers = rows.reshape(-1)
    if numbers[count:].any():
        raise LayoutError(f"packed numbers that do not end with zeros after number {count}")
    unpacked: Words = numbers[:count].astype(word_type(bits))
    return unpacked


def unpack_blocks(read: ReadBytes, offset: int, count: int, bits: int) -> Iterator[Words]:
    """Read packed numbers in blocks of `BLOCK_NUMBERS`, the last one with the rest.

    Raises:
        LayoutError: as `unpack_block`.
    """
    for start in range(0, count, BLOCK_NUMBERS):
        numbers = min(BLOCK_NUMBERS, count - start)
        size = packed_size(numbers, bits)
        yield unpack_block(read(offset + packed_size(start, bits), size), numbers, bits)
