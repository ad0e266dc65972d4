"""Stretches of a layout that are folded as one flat array: neighbours of one dtype. Pure.

A layout of float32 tensors only is one run. One whose batch normalisations count their batches in
whole numbers has a few for each of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from fedbus.blobs.spool import Spool
from fedbus.model.blob import BLOCK
from fedbus.model.layout import DIFFERENCES, Array, Layout


@dataclass(frozen=True, slots=True)
class TensorRun:
    """Neighbouring tensors of one dtype, and where they are.

    `plain` and `delta` count the bytes before it in a blob's data; `first` and `total` the numbers
    before it in the layout and in the round's total. What is `local` is in no delta and no total.
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
        """The dtype that a delta has here."""
        return DIFFERENCES.get(self.dtype, self.dtype)


@dataclass(frozen=True, slots=True)
class Block:
    """So many numbers of a run, beginning at number `at` of it."""

    at: int
    numbers: int


def runs_of(layout: Layout) -> tuple[TensorRun, ...]:
    """Cut a layout into runs, in its order."""
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
    """Cut a run into blocks that stay in a core's cache."""
    for at in range(0, run.numbers, BLOCK):
        yield Block(at, min(BLOCK, run.numbers - at))


def read(spool: Spool, start: int, dtype: str, block: Block) -> Array:
    """View a block of a run that begins at byte `start` of a spool; the array is a lease on it.

    Raises:
        StoreError: see `Spool.read`.
    """
    kind = np.dtype(dtype).newbyteorder("<")
    raw = spool.read(start + block.at * kind.itemsize, block.numbers * kind.itemsize)
    return np.frombuffer(raw, kind)
