"""Format of a chunk: a slice of a blob in a msgpack array of fixed widths. Pure.

A chunk is the msgpack array `[serial, index, crc32, data]`. Any msgpack library reads it; fedbus
writes and accepts only the form with a header of 21 bytes, so a chunk is split without a parser and
without a copy, and is checked before memory is allocated for it:

    offset  bytes
    0       1      0x94, array of 4
    1       5      0xce, serial, uint32
    6       5      0xce, index, uint32: the data begins at byte `index * CHUNK_BYTES` of the blob
    11      5      0xce, crc32, uint32, of bytes 0 to 10 and the data
    16      5      0xc6, length of the data in bytes, uint32
    21      …      the data, at most `CHUNK_BYTES` bytes

All numbers are big-endian, as always in msgpack. The crc covers serial, index and data; the tags
and the length are compared with the only values they can have. So one flipped bit anywhere costs
one chunk. The blob's digest is checked once, when the whole blob has arrived. zlib-ng computes the
crc32 at 8 GB/s; zlib, which is used where zlib-ng is not installed, reached 1.3 GB/s.
"""

import struct
from dataclasses import dataclass
from typing import Final

from fedbus.errors import WireError
from fedbus.wire.blobs import CHUNK_BYTES

try:
    from zlib_ng.zlib_ng import crc32
except ImportError:
    from zlib import crc32

_ARRAY_OF_4, _UINT32, _BIN32 = 0x94, 0xCE, 0xC6
_TAGS: Final = (_ARRAY_OF_4, _UINT32, _UINT32, _UINT32, _BIN32)
_TAG_NAMES: Final = (
    "array of 4 (0x94)",
    "uint32 (0xce) for the serial",
    "uint32 (0xce) for the index",
    "uint32 (0xce) for the crc32",
    "bin 32 (0xc6) for the data",
)
_SUMMED = struct.Struct(">BBIBI")
_REST = struct.Struct(">BIBI")
_HEADER = struct.Struct(">BBIBIBIBI")
HEADER_BYTES: Final = _HEADER.size

MULTICAST_SERIAL = 0
"""Serial of a chunk of a multicast."""
CONFIRM_SERIAL = 1
"""Serial of a chunk of a multicast that every member confirms."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A slice of a blob, from byte `index * CHUNK_BYTES` on."""

    serial: int
    index: int
    data: memoryview


def write_chunk(serial: int, index: int, data: bytes | memoryview) -> bytes:
    """Format a slice of at most `CHUNK_BYTES` bytes as a chunk; the data is copied once."""
    summed = _SUMMED.pack(_ARRAY_OF_4, _UINT32, serial, _UINT32, index)
    rest = _REST.pack(_UINT32, crc32(data, crc32(summed)), _BIN32, len(data))
    return b"".join((summed, rest, data))


def read_chunk(payload: bytes) -> Chunk:
    """Parse a chunk without copying its data.

    Raises:
        WireError: the payload is not a chunk in its fixed form, is too long, or was damaged.
    """
    view = memoryview(payload)
    if not HEADER_BYTES <= len(view) <= HEADER_BYTES + CHUNK_BYTES:
        raise WireError(
            f"chunk: expected {HEADER_BYTES} to {HEADER_BYTES + CHUNK_BYTES} bytes, got {len(view)}"
        )
    array, t1, serial, t2, index, t3, crc, t4, length = _HEADER.unpack_from(view)
    if (array, t1, t2, t3, t4) != _TAGS:
        raise WireError(_describe_tags(array, t1, t2, t3, t4))
    data = view[HEADER_BYTES:]
    if length != len(data):
        raise WireError(f"chunk {index}: expected {length} bytes of data, got {len(data)}")
    if crc != crc32(data, crc32(view[: _SUMMED.size])):
        raise WireError(f"chunk {index}: damaged in transit, its crc32 differs")
    return Chunk(serial, index, data)


def _describe_tags(*found: int) -> str:
    """Describe the first tag that differs from the fixed form."""
    at = next(i for i in range(len(_TAGS)) if found[i] != _TAGS[i])
    return f"chunk: expected msgpack's {_TAG_NAMES[at]}, got {found[at]:#04x}"
