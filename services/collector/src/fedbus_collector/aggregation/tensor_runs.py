"""Runs of a layout: adjacent tensors of one dtype, folded as one flat array. Pure.

A layout of float32 tensors only is one run. Each integer tensor between float tensors, such as the
batch counter of a batch normalisation, splits it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from fedbus.blobs.spool import Spool
from fedbus.model.blob import BLOCK_NUMBERS
from fedbus.model.layout import DIFFERENCES, Array, Layout


@dataclass(frozen=True, slots=True)
class TensorRun:
    """Adjacent tensors of one dtype, and their offsets.

    Attributes:
        local: The tensors have the role `local`: they are in no update and no running total.
        numbers: Numbers in the run.
        first: Numbers before the run in the layout.
        plain: Bytes before the run in the data of a plain blob.
        delta: Bytes before the run in the data of an update.
        total: Numbers before the run in the running total.
    """

    dtype: str
    local: bool
    numbers: int
    first: int
    plain: int
    delta: int
    total: int

    @property
    def difference(self) -> str:
        """The dtype of the run in an update."""
        return DIFFERENCES.get(self.dtype, self.dtype)


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a run: `numbers` numbers from position `at`."""

    at: int
    numbers: int


def runs_of(layout: Layout) -> tuple[TensorRun, ...]:
    """Split a layout into runs, in its order."""
    runs: list[TensorRun] = []
    first = plain = delta = total = 0
    for (dtype, local), tensors in groupby(layout.tensors, lambda t: (t.dtype, t.role == "local")):
        numbers = sum(tensor.numbers for tensor in tensors)
        run = TensorRun(dtype, local, numbers, first, plain, delta, total)
        runs.append(run)
        first += numbers
        plain += numbers * np.dtype(dtype).itemsize
        if not local:
            delta += numbers * np.dtype(run.difference).itemsize
            total += numbers
    return tuple(runs)


def blocks_of(run: TensorRun) -> Iterator[Block]:
    """Split a run into blocks that fit into a processor's cache."""
    for at in range(0, run.numbers, BLOCK_NUMBERS):
        yield Block(at, min(BLOCK_NUMBERS, run.numbers - at))


def read(spool: Spool, start: int, dtype: str, block: Block) -> Array:
    """Return a block of a run that begins at byte `start` of a spool, as a view of the spool."""
    kind = np.dtype(dtype).newbyteorder("<")
    raw = spool.read(start + block.at * kind.itemsize, block.numbers * kind.itemsize)
    return np.frombuffer(raw, kind)
