"""Decoder of compressed blobs, which any client may have made. Pure.

Every count and size follows from the layout, the steps and the frozen numbers, and is compared with
the blob before anything is allocated. The memory that is used is bounded by the layout.
"""

from collections.abc import Sequence

import numpy as np

from fedbus.compression.body import Body, Content, Frozen, body_bounds
from fedbus.compression.bounds import data_bounds
from fedbus.compression.chain import Chain, chain_of
from fedbus.compression.compressed_header import read_compressed_header
from fedbus.compression.number_coding import Floats
from fedbus.compression.zstandard_frame import read_frame
from fedbus.errors import LayoutError
from fedbus.model.blob import blank, writable_arrays
from fedbus.model.blob_header import Blob
from fedbus.model.layout import Array, Layout
from fedbus.training.params import PluginChoice


def decode(
    blob: Blob,
    layout: Layout,
    steps: Sequence[PluginChoice],
    frozen: Frozen | None = None,
    content: Content = "delta",
) -> bytearray:
    """Return the blob that was compressed: a delta or a plain one, with zeros for what is not sent.

    Numbers may be NaN or infinite where the steps keep them as they are.

    Raises:
        PluginError: The steps are no chain, or a package is missing.
        LayoutError: The blob is not one of this layout and these steps.
    """
    chain, body = chain_of(steps), Body(layout, content, frozen)
    header = read_compressed_header(blob, layout, chain)
    data = _unpacked(memoryview(blob).cast("B")[header.offset :].toreadonly(), body, chain)
    numbers = _trained_numbers(data[body.dense_bytes :], body, chain, header.seed)
    made = blank(layout, content)
    _fill(writable_arrays(made, layout), data, numbers, body)
    return made


def _unpacked(data: memoryview, body: Body, chain: Chain) -> memoryview:
    """Return the body; raise LayoutError unless its size is possible."""
    sizes = body_bounds(body, chain, body.trained_numbers - body.free_numbers)
    expected = data_bounds(sizes, chain)
    if not expected.least <= len(data) <= expected.most:
        raise LayoutError(
            f"a compressed blob of {len(data)} bytes after its header; expected {expected.text}"
        )
    return data if chain.level is None else memoryview(read_frame(data, sizes))


def _trained_numbers(data: memoryview, body: Body, chain: Chain, seed: int) -> Floats:
    """Return all trained numbers, zeros for those that are not sent."""
    free, indices, start = body.free_numbers, None, 0
    if chain.selection is not None:
        indices, start = chain.selection.read(data, free, seed)
    parts = body.sent(indices)
    size = chain.coding.size(parts)
    if len(data) - start != size:
        raise LayoutError(
            f"the numbers of a compressed blob have {len(data) - start} bytes; {size} are expected"
        )
    numbers = chain.coding.read(data[start:], parts, body.dtype)
    if indices is not None:
        numbers = _scattered(numbers, indices, free)
    if body.frozen is not None:
        numbers = _scattered(numbers, ~body.frozen, body.trained_numbers)
    return numbers


def _scattered(numbers: Floats, places: Array, size: int) -> Floats:
    made = np.zeros(size, numbers.dtype)
    made[places] = numbers
    return made


def _fill(views: dict[str, Array], data: memoryview, numbers: Floats, body: Body) -> None:
    start = 0
    for tensor in body.dense:
        little = np.dtype(tensor.dtype).newbyteorder("<")
        views[tensor.name][...] = np.frombuffer(data, little, tensor.numbers, start).reshape(
            tensor.shape
        )
        start += tensor.size
    start = 0
    with np.errstate(over="ignore"):  # the collector refuses infinite differences
        for tensor in body.trained:
            part = numbers[start : start + tensor.numbers]
            views[tensor.name][...] = part.reshape(tensor.shape)
            start += tensor.numbers
