"""Index codes: which numbers of many are sent, in as few bytes as possible. Pure.

    offset  bytes
    0       1      the code: 255 for a bitmap, else r for Rice codes with r low bits
    1       4      bytes of the rest, unsigned, little-endian

A bitmap has one bit for each number. Rice codes hold the gaps between sent numbers: first the low
bits of all gaps, then the rest of each gap in unary, as zeros and a one after them. Both codes are
ascending by construction, and name no index twice. Bits fill a byte from the lowest one on.
"""

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedbus.compression.body_bytes import BodyBytes
from fedbus.errors import LayoutError
from fedbus.model.encodings import SizeBounds

Indices = NDArray[np.int64]
"""Ascending positions among the numbers that may be sent."""

Marks = NDArray[np.uint8]
"""One bit for each number that may be sent: whether it is. Bits fill a byte from the lowest on."""

_HEAD: Final = struct.Struct("<BI")
_BITMAP: Final = 255
_UNARY_BLOCK_BYTES: Final = 8 * 1024
"""Unary codes that are read at once, so that memory for reading is bounded."""


def index_bounds(count: int, numbers: int) -> SizeBounds:
    """Return the least and the most bytes of `count` indices of `numbers` numbers."""
    least = min(_bytes_of(numbers), _bytes_of(count))
    return SizeBounds(_HEAD.size + least, _HEAD.size + _bytes_of(numbers))


def write_indices(indices: Indices, numbers: int) -> bytes:
    """Return ascending indices in the shorter one of the two codes."""
    gaps = np.diff(indices, prepend=-1) - 1
    low = _best_low_bits(gaps, numbers)
    sizes = _bytes_of(indices.size * low), _bytes_of(indices.size + int((gaps >> low).sum()))
    if sum(sizes) >= _bytes_of(numbers):
        marks = np.zeros(numbers, np.uint8)
        marks[indices] = 1
        bitmap = np.packbits(marks, bitorder="little")
        return _HEAD.pack(_BITMAP, bitmap.size) + bitmap.tobytes()
    lows = np.empty((gaps.size, low), np.uint8)
    for place in range(low):
        lows[:, place] = (gaps >> place) & 1
    ends = np.cumsum((gaps >> low) + 1) - 1
    unary = np.zeros(int(ends[-1]) + 1 if ends.size else 0, np.uint8)
    unary[ends] = 1
    packed = (np.packbits(bits, bitorder="little").tobytes() for bits in (lows.ravel(), unary))
    return _HEAD.pack(low, sum(sizes)) + b"".join(packed)


def read_marks(data: BodyBytes, count: int, numbers: int) -> Marks:
    """Read which of `numbers` numbers are sent, `count` of them.

    Raises:
        LayoutError: They are cut off, or are not `count` indices below `numbers`.
    """
    if data.left < _HEAD.size:
        raise LayoutError(f"indices in {data.left} bytes; they begin with {_HEAD.size}")
    code, size = _HEAD.unpack(data.take(_HEAD.size))
    if size > min(_bytes_of(numbers), data.left):
        raise LayoutError(f"indices of {size} bytes, beyond the blob or the {numbers} numbers")
    rest = np.frombuffer(data.take(size), np.uint8)
    if code == _BITMAP:
        return _of_bitmap(rest, count, numbers)
    if code < numbers.bit_length():
        return _of_rice_codes(rest, code, count, numbers)
    raise LayoutError(f"indices in the unknown code {code}")


def marks_between(marks: Marks, start: int, stop: int) -> NDArray[np.uint8]:
    """Return the bits of the numbers from `start` to `stop`, each 0 or 1."""
    bits = np.unpackbits(marks[start // 8 : _bytes_of(stop)], bitorder="little")
    return bits[start % 8 : start % 8 + stop - start]


def marked(marks: Marks, start: int, stop: int) -> int:
    """Return how many of the numbers from `start` to `stop` are sent."""
    step = 8 * _UNARY_BLOCK_BYTES
    blocks = ((at, min(at + step, stop)) for at in range(start, stop, step))
    return sum(int(np.count_nonzero(marks_between(marks, *block))) for block in blocks)


def _of_bitmap(rest: Marks, count: int, numbers: int) -> Marks:
    if rest.size != _bytes_of(numbers):
        raise LayoutError(f"a bitmap of {rest.size} bytes for {numbers} numbers")
    if marked(rest, numbers, 8 * rest.size):
        raise LayoutError(f"a bitmap with an index beyond the {numbers} numbers")
    if (found := marked(rest, 0, numbers)) != count:
        raise LayoutError(f"expected {count} indices, got {found}")
    return rest


def _of_rice_codes(rest: NDArray[np.uint8], low: int, count: int, numbers: int) -> Marks:
    split = _bytes_of(count * low)
    if split > rest.size:
        raise LayoutError(f"Rice codes of {rest.size} bytes for {count} indices")
    lows, unary = rest[:split], rest[split:]
    marks = np.zeros(_bytes_of(numbers), np.uint8)
    found, last, last_end = 0, -1, -1
    others = LayoutError(f"Rice codes that are not those of {count} indices")
    if marks_between(lows, count * low, 8 * split).any():
        raise others
    for start in range(0, unary.size, _UNARY_BLOCK_BYTES):
        bits = np.unpackbits(unary[start : start + _UNARY_BLOCK_BYTES], bitorder="little")
        ends = np.flatnonzero(bits) + 8 * start
        if not ends.size:
            continue
        if found + ends.size > count:
            raise others
        gaps = np.diff(ends, prepend=last_end) - 1
        if gaps.max() > numbers >> low:
            raise LayoutError(f"Rice codes with an index beyond the {numbers} numbers")
        gaps = (gaps << low) + _low_bits(lows, low, found, ends.size)
        indices = np.cumsum(gaps + 1) + last
        found, last, last_end = found + ends.size, int(indices[-1]), int(ends[-1])
        if last >= numbers:
            raise LayoutError(f"Rice codes with an index beyond the {numbers} numbers")
        _mark(marks, indices)
    if found != count:
        raise others
    return marks


def _low_bits(lows: NDArray[np.uint8], low: int, first: int, count: int) -> Indices:
    """Return the low bits of `count` gaps, as numbers."""
    bits = marks_between(lows, first * low, (first + count) * low).reshape(count, low)
    made = np.zeros(count, np.int64)
    for place in range(low):
        made += bits[:, place].astype(np.int64) << place
    return made


def _mark(marks: Marks, indices: Indices) -> None:
    """Set the bits of ascending indices, of which there is at least one."""
    places, bits = indices >> 3, (1 << (indices & 7)).astype(np.uint8)
    firsts = np.flatnonzero(np.diff(places, prepend=-1))
    marks[places[firsts]] |= np.bitwise_or.reduceat(bits, firsts)


def _best_low_bits(gaps: Indices, numbers: int) -> int:
    """Return the number of low bits that makes the codes shortest."""
    sizes = [gaps.size * low + int((gaps >> low).sum()) for low in range(numbers.bit_length())]
    return int(np.argmin(sizes)) if sizes else 0


def _bytes_of(bits: int) -> int:
    return -(-bits // 8)
