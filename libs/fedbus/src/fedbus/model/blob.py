"""Weights as blobs: named arrays in one sequence of bytes. Pure.

A blob is a header (`blob_header.py`), then the numbers of a model's tensors in one of the
`encodings/`: `plain`, the weights themselves, or `delta`, the change that a training made to them.

Reading a blob copies no number: `decode` returns read-only views of its bytes. Sizes are compared
with the layout before anything is allocated.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedbus.errors import LayoutError
from fedbus.model.blob_header import Blob, blob_size, check_header, header_bytes
from fedbus.model.encodings import encoding_named
from fedbus.model.encodings.delta import write_difference
from fedbus.model.layout import Array, Layout, Weights

BLOCK_NUMBERS: Final = 64 * 1024
"""Numbers that are processed together: 256 KiB of float32 fit a core's cache."""


def blank(layout: Layout, encoding: str) -> bytearray:
    """Allocate a blob of zeros, to be filled through `writable_arrays` or `flat`."""
    head = header_bytes(layout, encoding)
    blob = bytearray(blob_size(layout, encoding))
    blob[: len(head)] = head
    return blob


def encode(weights: Weights, layout: Layout, encoding: str = "plain") -> bytearray:
    """Copy arrays into a new blob.

    Raises:
        LayoutError: The arrays do not have the names, shapes and dtypes of the layout, or with
            `delta` those of its differences.
    """
    chosen = encoding_named(encoding)
    chosen.check(weights, layout)
    blob = blank(layout, encoding)
    chosen.encode(weights, layout, memoryview(blob)[len(header_bytes(layout, encoding)) :])
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
    write_difference(new, old, views)
    return blob


def decode(blob: Blob, layout: Layout, encoding: str | None = None) -> dict[str, Array]:
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


def _arrays(blob: Blob, layout: Layout, encoding: str | None) -> dict[str, Array]:
    header = check_header(blob, memoryview(blob).nbytes, layout, encoding)
    data = memoryview(blob).cast("B")[header.offset :]
    return encoding_named(header.encoding).decode(data, layout)
