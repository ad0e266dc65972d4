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

from fedbus.errors import LayoutError
from fedbus.model.encodings import SizeBounds

Indices = NDArray[np.int64]
"""Ascending positions among the numbers that may be sent."""

_HEAD: Final = struct.Struct("<BI")
_BITMAP: Final = 255


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


def read_indices(data: memoryview, count: int, numbers: int) -> tuple[Indices, int]:
    """Return the indices at the beginning of data, and the number of their bytes.

    Raises:
        LayoutError: They are cut off, or are not `count` indices below `numbers`.
    """
    if len(data) < _HEAD.size:
        raise LayoutError(f"indices in {len(data)} bytes; they begin with {_HEAD.size}")
    code, size = _HEAD.unpack_from(data)
    if size > min(_bytes_of(numbers), len(data) - _HEAD.size):
        raise LayoutError(f"indices of {size} bytes, beyond the blob or the {numbers} numbers")
    rest = np.frombuffer(data, np.uint8, size, _HEAD.size)
    if code == _BITMAP:
        found = _of_bitmap(rest, numbers)
    elif code < numbers.bit_length():
        found = _of_rice_codes(rest, code, count, numbers)
    else:
        raise LayoutError(f"indices in the unknown code {code}")
    if found.size != count:
        raise LayoutError(f"expected {count} indices, got {found.size}")
    return found, _HEAD.size + size


def _of_bitmap(rest: NDArray[np.uint8], numbers: int) -> Indices:
    if rest.size != _bytes_of(numbers):
        raise LayoutError(f"a bitmap of {rest.size} bytes for {numbers} numbers")
    bits = np.unpackbits(rest, bitorder="little")
    if bits[numbers:].any():
        raise LayoutError(f"a bitmap with an index beyond the {numbers} numbers")
    return np.flatnonzero(bits)


def _of_rice_codes(rest: NDArray[np.uint8], low: int, count: int, numbers: int) -> Indices:
    split = _bytes_of(count * low)
    if split > rest.size:
        raise LayoutError(f"Rice codes of {rest.size} bytes for {count} indices")
    bits = np.unpackbits(rest[:split], bitorder="little")
    ends = np.flatnonzero(np.unpackbits(rest[split:], bitorder="little"))
    if bits[count * low :].any() or ends.size != count:
        raise LayoutError(f"Rice codes that are not those of {count} indices")
    gaps = np.diff(ends, prepend=-1) - 1
    if gaps.max(initial=0) > numbers >> low:
        raise LayoutError(f"Rice codes with an index beyond the {numbers} numbers")
    gaps <<= low
    lows = bits[: count * low].reshape(count, low)
    for place in range(low):
        gaps += lows[:, place].astype(np.int64) << place
    if gaps.sum(dtype=np.float64) + count > numbers:
        raise LayoutError(f"Rice codes with an index beyond the {numbers} numbers")
    found: Indices = np.cumsum(gaps + 1) - 1
    return found


def _best_low_bits(gaps: Indices, numbers: int) -> int:
    """Return the number of low bits that makes the codes shortest."""
    sizes = [gaps.size * low + int((gaps >> low).sum()) for low in range(numbers.bit_length())]
    return int(np.argmin(sizes)) if sizes else 0


def _bytes_of(bits: int) -> int:
    return -(-bits // 8)
