"""Blocks of a strategy's state arrays: read from the base version's blob, written to a new one."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedbus.blobs.spool import Spool
from fedbus.errors import LayoutError
from fedbus.model.blob_header import MAX_BLOB_HEADER_BYTES, check_header, header_bytes
from fedbus.model.layout import Layout
from fedbus_collector.aggregation.dtypes import InvalidNumber, as_dtype
from fedbus_collector.aggregation.tensor_runs import Span, read, runs_of

STATE_DTYPE = "float32"


@dataclass(frozen=True, slots=True)
class StrategyArrays:
    """A strategy's state arrays: the base version's, None for zeros, and the spool of the new."""

    layout: Layout
    old: Spool | None
    new: Spool


class StateBlocks:
    """Reads blocks of a strategy's old arrays, and writes those of its new ones."""

    def __init__(self, arrays: StrategyArrays, numbers: int) -> None:
        self._arrays = arrays
        head = header_bytes(arrays.layout, "plain")
        arrays.new.write(0, head)
        self._start = len(head)
        self._old = 0 if arrays.old is None else plain_offset(arrays.old, arrays.layout)
        runs = runs_of(arrays.layout, joined=False)
        self._runs = dict(zip((t.name for t in arrays.layout.tensors), runs, strict=True))
        self._scratch = {name: np.empty(numbers) for name in self._runs}

    def read(self, place: Span) -> dict[str, NDArray[np.float64]]:
        """Return a block of each array as float64; zeros where there is no old state."""
        blocks = {name: held[: place.numbers] for name, held in self._scratch.items()}
        for name, block in blocks.items():
            if self._arrays.old is None:
                block.fill(0.0)
            else:
                start = self._old + self._runs[name].plain
                block[:] = read(self._arrays.old, start, STATE_DTYPE, place)
        return blocks

    def write(self, place: Span, blocks: Mapping[str, NDArray[np.float64]], part: str) -> None:
        """Write a block of each array, rounded to float32; `part` keeps them."""
        for name, block in blocks.items():
            try:
                rounded = as_dtype(block, np.dtype(STATE_DTYPE), f"the new value of {part}")
            except InvalidNumber as error:
                raise LayoutError(f"state {name!r} of the strategy: {error}") from error
            at = self._start + self._runs[name].plain + place.at * rounded.itemsize
            self._arrays.new.write(at, rounded.data.cast("B"))


def plain_offset(blob: Spool, layout: Layout) -> int:
    """Return where the numbers of a plain blob begin; raise LayoutError if it is not one."""
    with blob.read(0, min(MAX_BLOB_HEADER_BYTES, blob.size)) as prefix:
        return check_header(prefix, blob.size, layout, "plain").offset
