"""Encoder of compressed blobs. Pure."""

from collections.abc import Sequence

import numpy as np

from fedbus.compression.body import Body, Content, Frozen
from fedbus.compression.chain import chain_of
from fedbus.compression.compressed_header import GREATEST_SEED, compressed_header_bytes
from fedbus.compression.number_coding import Floats
from fedbus.compression.zstandard_frame import write_frame
from fedbus.errors import LayoutError
from fedbus.model.frozen_bits import FrozenBits
from fedbus.model.layout import Layout, Weights
from fedbus.training.params import PluginChoice


def encode(  # noqa: PLR0913, PLR0917 - all that the bytes depend on
    arrays: Weights,
    layout: Layout,
    steps: Sequence[PluginChoice],
    rng: np.random.Generator,
    frozen: Frozen | FrozenBits | None = None,
    content: Content = "delta",
) -> bytearray:
    """Compress differences or weights into a new blob.

    Args:
        arrays: By tensor name, those of a delta blob or of a plain one. The trained ones may have
            any float dtype; numbers beyond the tensor's are clipped.
        layout: The model's.
        steps: The chain.
        rng: Decides about rounding and random-k.
        frozen: The trained numbers that are left out; None: none.
        content: What `arrays` are.

    Raises:
        PluginError: The steps are no chain, or a package is missing.
        LayoutError: An array is missing or has another shape or dtype, or a trained number is NaN
            or infinite.
    """
    chain, body = chain_of(steps), Body(layout, content, frozen)
    numbers = _free_numbers(arrays, body)
    seed = int(rng.integers(GREATEST_SEED, endpoint=True))
    made: list[bytes | bytearray] = [_dense(arrays, body)]
    indices = None
    if chain.selection is not None:
        indices = chain.selection.choose(numbers, seed)
        made.append(chain.selection.write(indices, numbers.size))
        numbers = numbers[indices]
    made.append(chain.coding.write(numbers, body.sent(indices), rng))
    del numbers, indices  # memory for what follows
    if chain.level is not None:
        data = b"".join(made)
        made.clear()
        made.append(write_frame(data, chain.level))
        del data
    return bytearray().join((compressed_header_bytes(layout, chain, seed), *made))


def _dense(arrays: Weights, body: Body) -> bytes:
    made = []
    for tensor in body.dense:
        array = arrays.get(tensor.name)
        if array is None:
            raise LayoutError(f"tensor {tensor.name!r} is missing")
        tensor.check(array)
        made.append(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return b"".join(made)


def _free_numbers(arrays: Weights, body: Body) -> Floats:
    """Copy the trained numbers that are not frozen into one array."""
    numbers: Floats = np.empty(body.trained_numbers, body.dtype)
    start = 0
    for tensor in body.trained:
        array = arrays.get(tensor.name)
        if array is None or array.shape != tensor.shape or array.dtype.kind != "f":
            found = "none" if array is None else f"{array.dtype} {array.shape}"
            raise LayoutError(
                f"tensor {tensor.name!r}: expected floats {tensor.shape}, got {found}"
            )
        part = numbers[start : start + tensor.numbers]
        with np.errstate(over="ignore"):  # infinity is refused below
            part[:] = array.reshape(-1)
        if not np.isfinite(part).all():
            raise LayoutError(f"tensor {tensor.name!r}: a number that is not finite")
        greatest = np.finfo(tensor.dtype).max
        if tensor.dtype != body.dtype:
            np.clip(part, -greatest, greatest, out=part)
        start += tensor.numbers
    return numbers if body.frozen is None else numbers[body.free(0, numbers.size)]
