"""The header in front of every chunk: magic, want serial, index, crc32.

The crc covers header and content, so one flipped bit costs one chunk, wherever it falls; the blob's
digest is checked once, when all of it is here. zlib-ng computes the same crc32 at 8 GB/s where the
system's zlib, which does without it on small boards, was seen at 1.3.
"""

import struct
from dataclasses import dataclass

from fedbus.errors import WireError
from fedbus.wire.values import CHUNK

try:
    from zlib_ng.zlib_ng import crc32
except ImportError:
    from zlib import crc32

_HEADER = struct.Struct(">4sII")
_CRC = struct.Struct(">I")
_MAGIC = b"fbc1"
HEADER_BYTES = _HEADER.size + _CRC.size

GROUP_SERIAL = 0
"""The serial of a chunk nobody wanted by serial: it goes to a group."""
CONFIRM_SERIAL = 1
"""The same, and whoever follows the group confirms that the stream has passed it up to here."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A slice of a blob: bytes `index * CHUNK` onward."""

    serial: int
    index: int
    data: memoryview


def write_chunk(serial: int, index: int, data: bytes | memoryview) -> bytes:
    """Put the header in front of a slice."""
    head = _HEADER.pack(_MAGIC, serial, index)
    return b"".join((head, _CRC.pack(crc32(data, crc32(head))), data))


def read_chunk(payload: bytes) -> Chunk:
    """Take a chunk apart, without copying its content.

    Raises:
        WireError: not a chunk, too long, or damaged on its way.
    """
    view = memoryview(payload)
    if not HEADER_BYTES <= len(view) <= HEADER_BYTES + CHUNK:
        raise WireError(f"chunk: {len(view)} bytes, at most {HEADER_BYTES + CHUNK}")
    head, data = view[: _HEADER.size], view[HEADER_BYTES:]
    magic, serial, index = _HEADER.unpack(head)
    if magic != _MAGIC:
        raise WireError("chunk: it does not start with fbc1")
    if _CRC.unpack_from(view, _HEADER.size)[0] != crc32(data, crc32(head)):
        raise WireError(f"chunk {index}: damaged, its crc32 differs")
    return Chunk(serial, index, data)
