"""Named arrays, the layout that describes them, and the blob that carries them. Pure.

A blob is a short header, then every tensor's numbers, little-endian, in layout order, back to back:

    offset  bytes
    0       4      magic, b"FBW1"
    4       4      length of the map, unsigned, little-endian
    8       n      msgpack map {"encoding": "plain" | "delta", "layout": sha256 of the layout}
    …       0-63   zeros, until the offset is a multiple of 64
    offset  …      the tensors

A `plain` blob holds every tensor in its dtype. A `delta` holds what training changed of each tensor
that is not local: floats in their own dtype, whole numbers in a signed dtype that every difference
fits (`layout.DIFFERENCES`), truth values as -1, 0 or 1.

The map is written in one order only, so equal weights make equal blobs and one digest. The data is
never copied to be read: `decode` returns read-only views of the blob. Everything a blob claims is
measured before anything is allocated for it.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast, get_args

import msgpack
import numpy as np
from numpy.typing import NDArray

from fedbus.errors import LayoutError
from fedbus.model.layout import Array, Encoding, Layout, Role, Tensor, Weights
from fedbus.text import listed

__all__ = [
    "BLOCK",
    "MAX_PREFIX",
    "Array",
    "Blob",
    "BlobHeader",
    "Encoding",
    "Layout",
    "Role",
    "Tensor",
    "Weights",
    "blank",
    "blob_size",
    "check_header",
    "check_update",
    "decode",
    "delta",
    "encode",
    "encode_delta",
    "flat",
    "header_bytes",
    "read_header",
    "writable_arrays",
]

Blob = bytes | bytearray | memoryview

MAGIC: Final = b"FBW1"
MAX_PREFIX: Final = 4096
"""The first so many bytes of a blob always hold its whole header."""
BLOCK: Final = 64 * 1024
"""Numbers looked at together: 256 KiB of float32 stay in a core's cache."""

_FIXED = struct.Struct("<4sI")
_ALIGNED = 64
_DIGEST = 64


@dataclass(frozen=True, slots=True)
class BlobHeader:
    """What a blob says of itself: data starts at `offset`, in bytes."""

    encoding: Encoding
    layout_digest: str
    offset: int


def header_bytes(layout: Layout, encoding: Encoding) -> bytes:
    """Write the header, padding included: everything of a blob that stands before its data."""
    fields: bytes = msgpack.packb({"encoding": encoding, "layout": layout.digest})
    head = _FIXED.pack(MAGIC, len(fields)) + fields
    return head + bytes(-len(head) % _ALIGNED)


def blob_size(layout: Layout, encoding: Encoding) -> int:
    """Count the bytes of a blob, header included."""
    return len(header_bytes(layout, encoding)) + layout.bytes_of(encoding)


def read_header(prefix: Blob) -> BlobHeader:
    """Read a header from a blob or from its first `MAX_PREFIX` bytes.

    Keys it does not know are ignored, so that a newer peer may add one.

    Raises:
        LayoutError: this is not the beginning of a blob we can read.
    """
    start = bytes(memoryview(prefix).cast("B")[:MAX_PREFIX])
    if len(start) < _FIXED.size or not start.startswith(MAGIC):
        raise LayoutError(f"not a weights blob: it begins with {start[:4]!r}, not {MAGIC!r}")
    length = _FIXED.unpack_from(start)[1]
    end = _FIXED.size + length
    offset = end + -end % _ALIGNED
    if offset > MAX_PREFIX:
        raise LayoutError(f"a blob's header of {length} bytes; it must end within {MAX_PREFIX}")
    if offset > len(start):
        raise LayoutError(f"a blob that ends after {len(start)} bytes, inside its header")
    match _unpack(start[_FIXED.size : end]):
        case {"encoding": str(encoding)} if encoding not in get_args(Encoding):
            raise LayoutError(f"a blob encoded as {encoding[:40]!r}; {listed(get_args(Encoding))}")
        case {"encoding": str(encoding), "layout": str(digest)} if len(digest) == _DIGEST:
            return BlobHeader(cast("Encoding", encoding), digest, offset)
        case _:
            raise LayoutError("a blob whose header names no encoding or no layout")


def check_header(
    prefix: Blob, size: int, layout: Layout, encoding: Encoding | None = None
) -> BlobHeader:
    """Read a header and hold it against the model's layout; `size` is the whole blob's, in bytes.

    Raises:
        LayoutError: it is of another layout, of another encoding than the one asked for, or too
            short or too long for its layout.
    """
    header = read_header(prefix)
    if header.layout_digest != layout.digest:
        found, wanted = header.layout_digest[:12], layout.digest[:12]
        raise LayoutError(f"a blob of layout {found}, where the model's is {wanted}")
    if encoding not in {None, header.encoding}:
        raise LayoutError(f"a {header.encoding} blob where a {encoding} one belongs")
    whole = header.offset + layout.bytes_of(header.encoding)
    if size != whole:
        raise LayoutError(f"a blob of {size} bytes; its layout makes {whole}")
    return header


def blank(layout: Layout, encoding: Encoding) -> bytearray:
    """Make a blob of zeros, to be filled through `writable_arrays` or `flat`."""
    head = header_bytes(layout, encoding)
    blob = bytearray(len(head) + layout.bytes_of(encoding))
    blob[: len(head)] = head
    return blob


def encode(weights: Weights, layout: Layout, encoding: Encoding = "plain") -> bytearray:
    """Write arrays into one new blob; each number is copied once.

    Raises:
        LayoutError: the arrays are not those of the layout, or of what a delta holds of it.
    """
    if encoding == "plain":
        layout.check(weights)
    else:
        Layout(layout.shared).check(weights)
    blob = blank(layout, encoding)
    for name, view in writable_arrays(blob, layout).items():
        np.copyto(view, weights[name])
    return blob


def encode_delta(new: Weights, base: Blob, layout: Layout) -> bytearray:
    """Write `new - base` into one new delta blob, no array in between; `base` is a plain blob.

    Local tensors are left out: they never leave the agent.

    Raises:
        LayoutError: the arrays or the base are not those of the layout, the base is a delta, or a
            whole number changed by more than 64 bits with a sign can say.
    """
    layout.check(new)
    old = decode(base, layout, "plain")
    blob = blank(layout, "delta")
    with np.errstate(over="ignore", invalid="ignore"):  # the collector refuses them by name
        for name, view in writable_arrays(blob, layout).items():
            if new[name].dtype.kind == "f":
                np.subtract(new[name], old[name], out=view)
            else:
                _subtract_whole(name, new[name], old[name], view)
    return blob


def delta(new: Weights, base: Weights, layout: Layout) -> dict[str, Array]:
    """Subtract two sets of arrays, name by name, into new arrays as a delta holds them.

    Raises:
        LayoutError: either set is not that of the layout.
    """
    layout.check(base)
    return decode(encode_delta(new, encode(base, layout), layout), layout)


def decode(blob: Blob, layout: Layout, encoding: Encoding | None = None) -> dict[str, Array]:
    """View a blob as named arrays, in layout order; no number is copied.

    The arrays are read-only, wherever the blob's bytes are, and keep those alive: a base that a
    trainer could change would be subtracted, changed, from the result. Copy what must outlast a
    blob that is written again.

    Raises:
        LayoutError: see `check_header`.
    """
    return _arrays(memoryview(blob).toreadonly(), layout, encoding)


def writable_arrays(blob: bytearray, layout: Layout) -> dict[str, Array]:
    """View a new blob as named arrays, in layout order, to fill it.

    Raises:
        LayoutError: see `check_header`.
    """
    return _arrays(blob, layout, None)


def flat(blob: Blob, layout: Layout) -> NDArray[np.float32]:
    """View a blob's whole data as one array, shape (numbers,), float32; no number is copied.

    The array is writable where the blob is.

    Raises:
        LayoutError: see `check_header`; or a tensor of the layout is not float32.
    """
    if not layout.all_float32:
        raise LayoutError("a layout with tensors that are not float32 has no flat view")
    header = check_header(blob, memoryview(blob).nbytes, layout)
    return np.frombuffer(blob, "<f4", -1, header.offset)


def check_update(block: Array, layout: Layout | None = None) -> None:
    """Refuse numbers that would poison a mean, 64 Ki at a time; shape (numbers,), any dtype.

    With a layout, `block` is the whole data section, and the sentence names the tensor.

    Raises:
        LayoutError: one of them is NaN or infinite.
    """
    if block.dtype.kind != "f":
        return
    for start in range(0, block.size, BLOCK):
        part = block[start : start + BLOCK]
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(np.add.reduce(part)):
                continue  # NaN and infinity outlive any sum, which takes half the time to find
        finite = np.isfinite(part)
        if not finite.all():
            at = start + int(finite.argmin())
            where = f"tensor {layout.name_at(at)!r}" if layout else f"number {at}"
            raise LayoutError(f"{where}: {block[at]} is not a finite number")


def _subtract_whole(name: str, new: Array, old: Array, out: Array) -> None:
    """Subtract whole numbers or truth values in 64 bits; `out` is of a dtype that they fit."""
    difference = new.astype(np.int64) - old.astype(np.int64)
    if new.dtype.itemsize == out.itemsize and ((new >= old) != (difference >= 0)).any():
        raise LayoutError(
            f"tensor {name!r}: an {new.dtype.name} changed by more than 2^63, which no update holds"
        )
    np.copyto(out, difference, casting="unsafe")


def _arrays(blob: Blob, layout: Layout, encoding: Encoding | None) -> dict[str, Array]:
    header = check_header(blob, memoryview(blob).nbytes, layout, encoding)
    return dict(_views(blob, layout.section(header.encoding), header.offset))


def _views(blob: Blob, tensors: tuple[Tensor, ...], offset: int) -> Iterator[tuple[str, Array]]:
    for tensor in tensors:
        dtype = np.dtype(tensor.dtype).newbyteorder("<")
        numbers = np.frombuffer(blob, dtype, tensor.numbers, offset)
        yield tensor.name, numbers.reshape(tensor.shape)
        offset += tensor.size


def _unpack(raw: bytes) -> object:
    try:
        return cast("object", msgpack.unpackb(raw))
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise LayoutError(f"a blob whose header is not msgpack: {error}") from error
