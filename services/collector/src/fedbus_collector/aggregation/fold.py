"""The heavy work of a round, block by block: verify, fold, aggregate. Called in a worker thread.

An update is folded only after all of it was verified, so a total never holds half of one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from fedbus.blobs.spool import Spool
from fedbus.errors import FedbusError, LayoutError, TransferError
from fedbus.model.blob import BLOCK, MAX_PREFIX, check_header, header_bytes
from fedbus.model.layout import Array, Layout
from fedbus.plugins import Aggregator
from fedbus_collector.aggregation.dtypes import InvalidNumber, check_difference, moved
from fedbus_collector.aggregation.tensor_runs import Block, TensorRun, blocks_of, read, runs_of


@dataclass(frozen=True, slots=True)
class ArrivedUpdate:
    """An update that is here, not yet verified."""

    agent: str
    digest: str
    weight: float
    spool: Spool


@dataclass(frozen=True, slots=True)
class RunningTotal:
    """Where a round's updates go: the running total, one float64 for each number of a delta."""

    layout: Layout
    aggregator: Aggregator
    total: Spool
    runs: tuple[TensorRun, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Cut the layout into runs once."""
        object.__setattr__(self, "runs", runs_of(self.layout))


def total_size(layout: Layout) -> int:
    """Count the bytes of a round's total."""
    return sum(tensor.numbers for tensor in layout.shared) * 8


def fold(running_total: RunningTotal, updates: Sequence[ArrivedUpdate]) -> dict[str, str]:
    """Verify and fold each update; return why, for those that were refused."""
    refused: dict[str, str] = {}
    for update in updates:
        try:
            offset = _verify(running_total, update)
        except FedbusError as error:
            refused[update.agent] = str(error)
        else:
            _fold_one(running_total, update, offset)
    return refused


def _verify(running_total: RunningTotal, update: ArrivedUpdate) -> int:
    spool = update.spool
    if spool.digest() != update.digest:
        raise TransferError("the update's bytes are not those of its digest")
    with spool.read(0, min(MAX_PREFIX, spool.size)) as prefix:
        offset = check_header(prefix, spool.size, running_total.layout, "delta").offset
    for run in _shared(running_total):
        for block in blocks_of(run):
            numbers = read(spool, offset + run.delta, run.difference, block)
            try:
                check_difference(numbers, run.dtype)
            except InvalidNumber as error:
                raise _named(running_total.layout, run, block, error) from error
    return offset


def _named(layout: Layout, run: TensorRun, block: Block, error: InvalidNumber) -> LayoutError:
    where = layout.name_at(run.first + block.at + error.index)
    return LayoutError(f"tensor {where!r}: {error}")


def _fold_one(running_total: RunningTotal, update: ArrivedUpdate, offset: int) -> None:
    total, aggregator = running_total.total, running_total.aggregator
    for run in _shared(running_total):
        for block in blocks_of(run):
            numbers = read(update.spool, offset + run.delta, run.difference, block)
            if run.dtype != "float32":
                numbers = numbers.astype(np.float64)
            at = (run.total + block.at) * 8
            held = np.frombuffer(total.read(at, block.numbers * 8), np.float64)
            if total.in_memory:
                aggregator.fold(held, numbers, update.weight)
            else:
                held = held.copy()
                aggregator.fold(held, numbers, update.weight)
                total.write(at, held.data.cast("B"))


def _shared(running_total: RunningTotal) -> Iterator[TensorRun]:
    return (run for run in running_total.runs if not run.local)


def aggregate(running_total: RunningTotal, base: Spool, weights: float, out: Spool) -> str:
    """Write the new model, a plain blob, into `out`; return its digest.

    Local tensors stay what they are in the base.

    Raises:
        LayoutError: the base is not a plain blob of this layout, or a mean does not fit its dtype.
        StoreError: a disk is full.
    """
    layout = running_total.layout
    with base.read(0, min(MAX_PREFIX, base.size)) as prefix:
        offset = check_header(prefix, base.size, layout, "plain").offset
    head = header_bytes(layout, "plain")
    out.write(0, head)
    scratch = np.empty(BLOCK)  # one for all blocks: fresh memory would be most of the time
    for run in running_total.runs:
        size = np.dtype(run.dtype).itemsize
        for block in blocks_of(run):
            old = read(base, offset + run.plain, run.dtype, block)
            mean = scratch[: block.numbers]
            new = old if run.local else _move(running_total, run, block, old, weights, mean)
            out.write(len(head) + run.plain + block.at * size, new.data.cast("B"))
    return out.digest()


def _move(  # noqa: PLR0913, PLR0917 - a block of a run, and what it takes to move it
    running_total: RunningTotal,
    run: TensorRun,
    block: Block,
    old: Array,
    weights: float,
    mean: Array,
) -> Array:
    total = running_total.total.read((run.total + block.at) * 8, block.numbers * 8)
    np.divide(np.frombuffer(total, np.float64), weights, out=mean)
    try:
        return moved(old, mean)
    except InvalidNumber as error:
        raise _named(running_total.layout, run, block, error) from error
