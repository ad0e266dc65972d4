"""Verification, folding and aggregation of updates, block by block. Called in a worker thread.

An update is folded after all of it was verified, so the total never contains a part of an update.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from fedbus.blobs.spool import Spool
from fedbus.errors import FedbusError, LayoutError, TransferError
from fedbus.model.blob import BLOCK_NUMBERS
from fedbus.model.blob_header import MAX_BLOB_HEADER_BYTES, check_header, header_bytes
from fedbus.model.layout import Layout
from fedbus_collector.aggregation.dtypes import InvalidNumber, add_mean, check_difference
from fedbus_collector.aggregation.tensor_runs import Block, TensorRun, blocks_of, read, runs_of


@dataclass(frozen=True, slots=True)
class ArrivedUpdate:
    """A complete update that is not yet verified."""

    agent: str
    digest: str
    weight: float
    spool: Spool


@dataclass(frozen=True, slots=True)
class RunningTotal:
    """The sum of a round's folded updates: one float64 for each number of an update."""

    layout: Layout
    spool: Spool
    runs: tuple[TensorRun, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Split the layout into runs."""
        object.__setattr__(self, "runs", runs_of(self.layout))


def total_size(layout: Layout) -> int:
    """Return the size of a round's running total in bytes."""
    return sum(tensor.numbers for tensor in layout.shared) * 8


def fold(total: RunningTotal, updates: Sequence[ArrivedUpdate]) -> dict[str, str]:
    """Verify and fold each update; return the reason for each agent whose update is refused."""
    refused: dict[str, str] = {}
    for update in updates:
        try:
            offset = _verify(total, update)
        except FedbusError as error:
            refused[update.agent] = str(error)
        else:
            _fold_one(total, update, offset)
    return refused


def _verify(total: RunningTotal, update: ArrivedUpdate) -> int:
    spool = update.spool
    if spool.digest() != update.digest:
        raise TransferError("the update's bytes are not those of its digest")
    with spool.read(0, min(MAX_BLOB_HEADER_BYTES, spool.size)) as prefix:
        offset = check_header(prefix, spool.size, total.layout, "delta").offset
    for run in _shared(total):
        for block in blocks_of(run):
            numbers = read(spool, offset + run.delta, run.difference, block)
            with _tensor_named(total.layout, run, block):
                check_difference(numbers, run.dtype)
    return offset


@contextmanager
def _tensor_named(layout: Layout, run: TensorRun, block: Block) -> Iterator[None]:
    """Add the name of the tensor to the message of an InvalidNumber."""
    try:
        yield
    except InvalidNumber as error:
        where = layout.name_at(run.first + block.at + error.index)
        raise LayoutError(f"tensor {where!r}: {error}") from error


def _fold_one(total: RunningTotal, update: ArrivedUpdate, offset: int) -> None:
    for run in _shared(total):
        for block in blocks_of(run):
            numbers = read(update.spool, offset + run.delta, run.difference, block)
            if run.dtype != "float32":
                numbers = numbers.astype(np.float64)
            held = read(total.spool, run.total * 8, "float64", block)
            if total.spool.in_memory:
                held += numbers * np.float64(update.weight)
            else:
                held = held + numbers * np.float64(update.weight)
                total.spool.write((run.total + block.at) * 8, held.data.cast("B"))


def _shared(total: RunningTotal) -> Iterator[TensorRun]:
    return (run for run in total.runs if not run.local)


def aggregate(total: RunningTotal, base: Spool, total_weight: float, out: Spool) -> str:
    """Write the aggregate, a blob in the encoding `plain`, into `out`; return its digest.

    Tensors of the role `local` are copied from the base.

    Raises:
        LayoutError: the base is not a plain blob of this layout, or a mean does not fit its dtype.
        StoreError: the disk is full.
    """
    layout = total.layout
    with base.read(0, min(MAX_BLOB_HEADER_BYTES, base.size)) as prefix:
        offset = check_header(prefix, base.size, layout, "plain").offset
    head = header_bytes(layout, "plain")
    out.write(0, head)
    scratch = np.empty(BLOCK_NUMBERS)  # a new one for each block would take most of the time
    for run in total.runs:
        size = np.dtype(run.dtype).itemsize
        for block in blocks_of(run):
            new = read(base, offset + run.plain, run.dtype, block)
            if not run.local:
                held, mean = read(total.spool, run.total * 8, "float64", block), scratch[: len(new)]
                with _tensor_named(layout, run, block):
                    new = add_mean(new, np.divide(held, total_weight, out=mean))
            out.write(len(head) + run.plain + block.at * size, new.data.cast("B"))
    return out.digest()
