"""Weights as blobs: named arrays in one sequence of bytes. Pure.

A blob is a header (`blob_header.py`), then the numbers of each tensor, little-endian, in the order
of the layout, without gaps.

A `plain` blob holds every tensor in its dtype. A `delta` holds the change of each tensor that is
not local: floats in their own dtype, whole numbers in a signed dtype that every difference fits
(`layout.DIFFERENCES`), booleans as -1, 0 or 1.

Reading a blob copies no number: `decode` returns read-only views of its bytes. Sizes are compared
with the layout before anything is allocated.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedbus.errors import LayoutError
from fedbus.model.blob_header import Blob, check_header, header_bytes
from fedbus.model.layout import Array, Encoding, Layout, Tensor, Weights

BLOCK_NUMBERS: Final = 64 * 1024
"""Numbers that are processed together: 256 KiB of float32 fit a core's cache."""


def blank(layout: Layout, encoding: Encoding) -> bytearray:
    """Allocate a blob of zeros, to be filled through `writable_arrays` or `flat`."""
    head = header_bytes(layout, encoding)
    blob = bytearray(len(head) + layout.bytes_of(encoding))
    blob[: len(head)] = head
    return blob


def encode(weights: Weights, layout: Layout, encoding: Encoding = "plain") -> bytearray:
    """Copy arrays into a new blob.

    Raises:
        LayoutError: The arrays do not have the names, shapes and dtypes of the layout, or with
            `delta` those of its differences.
    """
    if encoding == "plain":
        layout.check(weights)
    else:
        Layout(layout.shared).check(weights)
    blob = blank(layout, encoding)
    for name, view in writable_arrays(blob, layout).items():
        np.copyto(view, weights[name])
    return blob


def encode_delta(
    new: Weights, base: Blob, layout: Layout, whole: Layout | None = None
) -> bytearray:
    """Compute `new - base` into a new delta blob, without temporary arrays; `base` is plain.

    Local tensors are left out: they never leave the agent. `whole` is the blob's layout if it has
    tensors beside those of `layout`, such as `sections.update_layout` adds; they are zero.

    Raises:
        LayoutError: The arrays or the base do not have the layout, the base is a delta, or a whole
            number changed by more than a signed 64-bit integer can hold.
    """
    layout.check(new)
    old = decode(base, layout, "plain")
    blob = blank(whole or layout, "delta")
    views = writable_arrays(blob, whole or layout)
    with np.errstate(over="ignore", invalid="ignore"):  # the collector refuses such numbers
        for name in old.keys() & views.keys():
            view = views[name]
            if new[name].dtype.kind == "f":
                np.subtract(new[name], old[name], out=view)
            else:
                _subtract_whole(name, new[name], old[name], view)
    return blob


def decode(blob: Blob, layout: Layout, encoding: Encoding | None = None) -> dict[str, Array]:
    """Return views of a blob's tensors, in the order of the layout.

    The arrays are read-only, even if the blob is writable: a trainer that changed its base would
    make the difference to that base wrong. They keep the blob's memory alive; copy them if that
    memory is going to be written again.

    Raises:
        LayoutError: See `check_header`.
    """
    return _arrays(memoryview(blob).toreadonly(), layout, encoding)


def writable_arrays(blob: bytearray, layout: Layout) -> dict[str, Array]:
    """Return writable views of a new blob's tensors; raises as `check_header` does."""
    return _arrays(blob, layout, None)


def flat(blob: Blob, layout: Layout) -> NDArray[np.float32]:
    """Return a view of a blob's numbers: shape (numbers,), float32, writable if the blob is.

    Raises:
        LayoutError: See `check_header`; or a tensor of the layout is not float32.
    """
    if not layout.all_float32:
        raise LayoutError("a layout with tensors that are not float32 has no flat view")
    header = check_header(blob, memoryview(blob).nbytes, layout)
    return np.frombuffer(blob, "<f4", -1, header.offset)


def check_update(block: Array, layout: Layout | None = None) -> None:
    """Reject numbers that are NaN or infinite.

    Args:
        block: Shape (numbers,), any dtype.
        layout: Given if `block` is the data of a whole blob: the message then names the tensor.

    Raises:
        LayoutError: A number is NaN or infinite.
    """
    if block.dtype.kind != "f":
        return
    for start in range(0, block.size, BLOCK_NUMBERS):
        part = block[start : start + BLOCK_NUMBERS]
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(np.add.reduce(part)):
                continue  # a sum keeps NaN and infinity, and takes half the time of isfinite
        finite = np.isfinite(part)
        if not finite.all():
            at = start + int(finite.argmin())
            where = f"tensor {layout.name_at(at)!r}" if layout else f"number {at}"
            raise LayoutError(f"{where}: {block[at]} is not a finite number")


def _subtract_whole(name: str, new: Array, old: Array, out: Array) -> None:
    """Subtract integers or booleans in 64 bits; the dtype of `out` fits every difference."""
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
