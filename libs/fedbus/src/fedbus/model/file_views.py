"""Files of weights made of parts of a plain blob: .safetensors and .npz without a copy. Pure.

The numbers in a plain blob stand in the order of its layout, little-endian, without gaps. Both
formats have them so as well, between bytes of their own. So such a file is a list of *parts*, bytes
and ranges of the blob. It is read at any offset, takes no memory, and is the same each time.

The archive of an .npz file follows APPNOTE.TXT of PKWARE, version 6.3.10, with entries that are
stored and have 64-bit sizes, as `numpy.savez` writes them.
"""

import io
import struct
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, TypeAlias

import numpy as np
from numpy.lib import format as npy

from fedbus.model import safetensors
from fedbus.model.layout import Layout, Tensor
from fedbus.model.npz import SUFFIX

Read: TypeAlias = Callable[[int, int], bytes | memoryview]
"""Reads bytes of a blob: offset, length."""
CHECKSUM_BLOCK_BYTES: Final = 1 << 20

_NEEDS_ZIP64: Final = 45
_UTF8_NAMES: Final = 0x800
_FIRST_DAY: Final = 0x21
"""1980-01-01, the earliest date of an archive: equal weights make equal files."""
_IN_EXTRA: Final = 0xFFFFFFFF
_FILE_MODE: Final = 0o600 << 16
_LOCAL: Final = struct.Struct("<4s5H3L2HHHQQ")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_CENTRAL_EXTRA: Final = struct.Struct("<HHQQQ")
_END_64: Final = struct.Struct("<4sQ2H2L4QLLQL")
_END: Final = struct.Struct("<4s4H2LH")


@dataclass(frozen=True, slots=True)
class BlobRange:
    """A range of a blob's bytes."""

    offset: int
    size: int


FilePart: TypeAlias = bytes | BlobRange


class FileView:
    """A file of parts of a blob, which `read` reads; a BlobSource."""

    def __init__(self, parts: Iterable[FilePart], read: Read) -> None:
        self._parts, self._read = tuple(parts), read
        sizes = (part.size if isinstance(part, BlobRange) else len(part) for part in self._parts)
        *self._starts, self._size = accumulate(sizes, initial=0)

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes at an offset, fewer at the end."""
        found, end = [], min(offset + length, self._size)
        at = bisect_right(self._starts, offset) - 1
        while offset < end:
            part, start = self._parts[at], self._starts[at]
            stop = self._starts[at + 1] if at + 1 < len(self._starts) else self._size
            until = min(stop, end)
            if isinstance(part, BlobRange):
                found.append(bytes(self._read(part.offset + offset - start, until - offset)))
            else:
                found.append(part[offset - start : until - start])
            offset, at = until, at + 1
        return b"".join(found)


def safetensors_parts(
    layout: Layout, data_offset: int, metadata: dict[str, str]
) -> tuple[FilePart, ...]:
    """Return the parts of a .safetensors file; a blob's data begin at `data_offset`, in bytes."""
    rows = ((each.name, each.dtype, each.shape, each.size) for each in layout.tensors)
    return safetensors.head_of(rows, metadata), BlobRange(data_offset, layout.size)


def npz_checksums(layout: Layout, data_offset: int, read: Read) -> tuple[int, ...]:
    """Return the CRC-32 of each entry of an .npz file; reads all data, in blocks."""
    found, at = [], data_offset
    for tensor in layout.tensors:
        checksum, end = zlib.crc32(_npy_head(tensor)), at + tensor.size
        while at < end:
            block = read(at, min(CHECKSUM_BLOCK_BYTES, end - at))
            checksum, at = zlib.crc32(block, checksum), at + len(block)
        found.append(checksum)
    return tuple(found)


def npz_parts(layout: Layout, data_offset: int, checksums: Sequence[int]) -> tuple[FilePart, ...]:
    """Return the parts of an .npz file with an array for each tensor; see `npz_checksums`."""
    parts, directory = list[FilePart](), list[bytes]()
    blob_at, file_at = data_offset, 0
    for tensor, checksum in zip(layout.tensors, checksums, strict=True):
        name, head = (tensor.name + SUFFIX).encode(), _npy_head(tensor)
        size = len(head) + tensor.size
        local = _LOCAL.pack(
            b"PK\x03\x04", _NEEDS_ZIP64, _UTF8_NAMES, 0, 0, _FIRST_DAY, checksum,
            _IN_EXTRA, _IN_EXTRA, len(name), 20, 1, 16, size, size,
        )  # fmt: skip
        fixed, extra = local[:30], local[30:]
        parts += [fixed + name + extra + head, BlobRange(blob_at, tensor.size)]
        directory.append(_central(name, checksum, size, file_at))
        blob_at += tensor.size
        file_at += len(local) + len(name) + size
    listed = b"".join(directory)
    return (*parts, listed + _end(len(directory), len(listed), file_at))


def _npy_head(tensor: Tensor) -> bytes:
    file = io.BytesIO()
    dtype = np.dtype(tensor.dtype).newbyteorder("<")
    head = {"descr": dtype.str, "fortran_order": False, "shape": tensor.shape}
    npy.write_array_header_1_0(file, head)  # type: ignore[no-untyped-call]
    return file.getvalue()


def _central(name: bytes, checksum: int, size: int, at: int) -> bytes:
    fixed = _CENTRAL.pack(
        b"PK\x01\x02", 3 << 8 | _NEEDS_ZIP64, _NEEDS_ZIP64, _UTF8_NAMES, 0, 0, _FIRST_DAY,
        checksum, _IN_EXTRA, _IN_EXTRA, len(name), _CENTRAL_EXTRA.size, 0, 0, 0,
        _FILE_MODE, _IN_EXTRA,
    )  # fmt: skip
    return fixed + name + _CENTRAL_EXTRA.pack(1, _CENTRAL_EXTRA.size - 4, size, size, at)


def _end(entries: int, size: int, at: int) -> bytes:
    end_64 = _END_64.pack(
        b"PK\x06\x06", 44, _NEEDS_ZIP64, _NEEDS_ZIP64, 0, 0, entries, entries, size, at,
        int.from_bytes(b"PK\x06\x07", "little"), 0, at + size, 1,
    )  # fmt: skip
    return end_64 + _END.pack(b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, _IN_EXTRA, _IN_EXTRA, 0)
