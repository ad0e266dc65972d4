"""Header of a weights blob: encoding, and digest of the layout. Pure.

    offset  bytes
    0       4      magic, b"FBW1"
    4       4      length of the map, unsigned, little-endian
    8       n      msgpack map {"encoding": its name, "layout": sha256 of the layout}
    …       0-63   zeros, until the offset is a multiple of 64

The map is written in one order only, so equal weights make equal blobs and one digest. The data
follow, as the encoding (`encodings/`) has them.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

import msgpack

from fedbus.errors import LayoutError
from fedbus.model.encodings import encoding_named
from fedbus.model.layout import Layout

Blob: TypeAlias = bytes | bytearray | memoryview

MAGIC: Final = b"FBW1"
MAX_BLOB_HEADER_BYTES: Final = 4096
"""The first bytes of a blob, which contain its whole header."""

_FIXED: Final = struct.Struct("<4sI")
_ALIGNMENT_BYTES: Final = 64
_DIGEST_LENGTH: Final = 64


@dataclass(frozen=True, slots=True)
class BlobHeader:
    """The content of a header; the data starts at `offset`, in bytes."""

    encoding: str
    layout_digest: str
    offset: int


def header_bytes(layout: Layout, encoding: str) -> bytes:
    """Return the header, padding included."""
    return packed_header({"encoding": encoding, "layout": layout.digest})


def packed_header(fields: Mapping[str, object]) -> bytes:
    """Return a header of these fields, padding included, for an encoding that has more of them."""
    packed: bytes = msgpack.packb(fields)
    head = _FIXED.pack(MAGIC, len(packed)) + packed
    return head + bytes(-len(head) % _ALIGNMENT_BYTES)


def blob_size(layout: Layout, encoding: str) -> int:
    """Return the size of a blob in bytes, header included; the largest, if sizes differ."""
    return len(header_bytes(layout, encoding)) + encoding_named(encoding).bounds(layout).most


def check_size(size: int, layout: Layout, encoding: str) -> None:
    """Raise LayoutError if no blob of this layout has this size, before any of it is received.

    The header of a newer version of fedbus may be longer than that of this one.
    """
    bounds = encoding_named(encoding).bounds(layout)
    if not bounds.least < size <= bounds.most + MAX_BLOB_HEADER_BYTES:
        raise LayoutError(
            f"expected the {bounds.text} bytes of the layout and a header, got {size} bytes"
        )


def read_header(prefix: Blob) -> BlobHeader:
    """Read a header from a blob or from its first `MAX_BLOB_HEADER_BYTES` bytes.

    Unknown keys are ignored, so that a newer version of fedbus may add one.

    Raises:
        LayoutError: The bytes do not begin with a valid header.
    """
    fields, offset = header_fields(prefix)
    match fields:
        case {"encoding": str(name), "layout": str(digest)} if len(digest) == _DIGEST_LENGTH:
            return BlobHeader(encoding_named(name).name, digest, offset)
        case _:
            raise LayoutError("a blob whose header names no encoding or no layout")


def header_fields(prefix: Blob) -> tuple[object, int]:
    """Return what a header's map is unpacked to, and the offset of the data, in bytes.

    Raises:
        LayoutError: The bytes do not begin with a header.
    """
    start = bytes(memoryview(prefix).cast("B")[:MAX_BLOB_HEADER_BYTES])
    if len(start) < _FIXED.size or not start.startswith(MAGIC):
        raise LayoutError(f"not a weights blob: it begins with {start[:4]!r}, not {MAGIC!r}")
    length = _FIXED.unpack_from(start)[1]
    end = _FIXED.size + length
    offset = end + -end % _ALIGNMENT_BYTES
    if offset > MAX_BLOB_HEADER_BYTES:
        raise LayoutError(
            f"a blob's header of {length} bytes; it must end within {MAX_BLOB_HEADER_BYTES}"
        )
    if offset > len(start):
        raise LayoutError(f"a blob that ends after {len(start)} bytes, inside its header")
    return _unpack(start[_FIXED.size : end]), offset


def check_header(
    prefix: Blob, size: int, layout: Layout, encoding: str | None = None
) -> BlobHeader:
    """Read a blob's header; raise LayoutError unless layout, encoding and size are as given."""
    header = read_header(prefix)
    if header.layout_digest != layout.digest:
        found, wanted = header.layout_digest[:12], layout.digest[:12]
        raise LayoutError(f"a blob of layout {found}, where the model's is {wanted}")
    if encoding not in {None, header.encoding}:
        raise LayoutError(f"a {header.encoding} blob where a {encoding} one belongs")
    encoding_named(header.encoding).verify(size - header.offset, layout)
    return header


def _unpack(raw: bytes) -> object:
    try:
        return cast("object", msgpack.unpackb(raw))
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise LayoutError(f"a blob whose header is not msgpack: {error}") from error
