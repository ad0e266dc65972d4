"""Decoder of compressed blobs, which any client may have made. Pure.

Every count and size follows from the layout, the steps and the frozen numbers, and is compared with
the blob before anything is allocated. The blob is read and the result written in blocks: beside
both, the memory is the window of zstandard, one bit for each number where some are chosen, the
scales of quantized numbers, and a few blocks.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from fedbus.compression.body import Body, Content, Frozen, body_bounds
from fedbus.compression.body_bytes import BodyBytes
from fedbus.compression.bounds import data_bounds
from fedbus.compression.chain import Chain, chain_of
from fedbus.compression.compressed_header import read_compressed_header
from fedbus.compression.index_codes import Marks, marked, marks_between
from fedbus.compression.number_coding import Floats, NumberReader
from fedbus.compression.zstandard_frame import open_frame
from fedbus.errors import LayoutError
from fedbus.model.blob import BLOCK_NUMBERS
from fedbus.model.blob_header import Blob, blob_size, header_bytes
from fedbus.model.frozen_bits import FrozenBits
from fedbus.model.layout import Array, Layout, Tensor
from fedbus.training.params import PluginChoice

Write = Callable[[int, bytes | memoryview], None]
"""Writes bytes at an offset."""

_BLOCK_BYTES = 256 * 1024


def decode(
    blob: Blob,
    layout: Layout,
    steps: Sequence[PluginChoice],
    frozen: Frozen | FrozenBits | None = None,
    content: Content = "delta",
) -> bytearray:
    """Return the blob that was compressed: a delta or a plain one, with zeros for what is not sent.

    Numbers may be NaN or infinite where the steps keep them as they are.

    Raises:
        PluginError: The steps are no chain, or a package is missing.
        LayoutError: The blob is not one of this layout and these steps.
    """
    made: list[bytearray] = []

    def write(offset: int, data: bytes | memoryview) -> None:
        if not made:  # the sizes of the blob are possible
            made.append(bytearray(blob_size(layout, content)))
        with memoryview(made[0]) as whole:
            whole[offset : offset + len(data)] = data

    decode_into(write, blob, layout, steps, frozen, content)
    return made[0]


def decode_into(  # noqa: PLR0913, PLR0917 - as `decode`, and where to
    write: Write,
    blob: Blob,
    layout: Layout,
    steps: Sequence[PluginChoice],
    frozen: Frozen | FrozenBits | None = None,
    content: Content = "delta",
) -> None:
    """Write the blob that was compressed, all `blob_size` bytes of it; raises as `decode` does."""
    chain, body = chain_of(steps), Body(layout, content, frozen)
    header = read_compressed_header(blob, layout, chain)
    data = _opened(memoryview(blob).cast("B")[header.offset :].toreadonly(), body, chain)
    offsets = _offsets(body)
    write(0, header_bytes(layout, content))
    for tensor in body.dense:
        for at in range(0, tensor.size, _BLOCK_BYTES):
            write(offsets[tensor.name] + at, data.take(min(_BLOCK_BYTES, tensor.size - at)))
    marks = None
    if chain.selection is not None:
        marks = chain.selection.read(data, body.free_numbers, header.seed)
    numbers = _reader(data, body, chain, marks)
    start = sent = 0
    for part, tensor in enumerate(body.trained):
        for at, flags in _sent_flags(body, marks, tensor, start, sent):
            written = _block(numbers, part, tensor, flags)
            write(offsets[tensor.name] + at * np.dtype(tensor.dtype).itemsize, written)
        start += tensor.numbers
        sent += body.free_by_tensor[part]
    numbers.end()
    data.end()


def _opened(data: memoryview, body: Body, chain: Chain) -> BodyBytes:
    """Return the body; raise LayoutError unless its size is possible."""
    sizes = body_bounds(body, chain, body.trained_numbers - body.free_numbers)
    expected = data_bounds(sizes, chain)
    if not expected.least <= len(data) <= expected.most:
        raise LayoutError(
            f"a compressed blob of {len(data)} bytes after its header; expected {expected.text}"
        )
    return BodyBytes.of(data) if chain.level is None else open_frame(data, sizes)


def _reader(data: BodyBytes, body: Body, chain: Chain, marks: Marks | None) -> NumberReader:
    """Begin to read the numbers; raise LayoutError unless the bytes left are theirs."""
    counts = body.free_by_tensor
    if marks is not None:
        ends = list(accumulate(counts, initial=0))
        counts = tuple(marked(marks, start, stop) for start, stop in pairwise(ends))
    parts = body.parts(counts)
    if data.left != (size := chain.coding.size(parts)):
        raise LayoutError(
            f"the numbers of a compressed blob have {data.left} bytes; {size} are expected"
        )
    return chain.coding.reader(data, parts, body.dtype)


def _sent_flags(
    body: Body, marks: Marks | None, tensor: Tensor, start: int, free: int
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Yield blocks of a tensor: where it begins in it, and for each number whether it is sent.

    Args:
        body: The body.
        marks: Which free numbers are sent; None: all.
        tensor: The tensor.
        start: How many trained numbers are before the tensor.
        free: How many free ones.
    """
    for at in range(0, tensor.numbers, BLOCK_NUMBERS):
        stop = min(at + BLOCK_NUMBERS, tensor.numbers)
        flags = body.free(start + at, start + stop)
        if marks is not None:
            count = int(np.count_nonzero(flags))
            flags[flags] = marks_between(marks, free, free + count) != 0
            free += count
        yield at, flags


def _block(
    numbers: NumberReader, part: int, tensor: Tensor, flags: NDArray[np.bool_]
) -> memoryview:
    """Return the bytes of a block of a tensor, with zeros for what is not sent."""
    sent: Floats = numbers.read(part, int(np.count_nonzero(flags)))
    made: Array = np.zeros(flags.size, np.dtype(tensor.dtype).newbyteorder("<"))
    with np.errstate(over="ignore"):  # the collector refuses infinite differences
        made[flags] = sent
    return made.data.cast("B")


def _offsets(body: Body) -> dict[str, int]:
    """Return where each tensor begins in the blob that was compressed."""
    layout, content = body.layout, body.content
    offset = len(header_bytes(layout, content))
    made = {}
    for tensor in layout.shared if content == "delta" else layout.tensors:
        made[tensor.name] = offset
        offset += tensor.size
    return made
