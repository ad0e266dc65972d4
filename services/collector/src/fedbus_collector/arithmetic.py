"""The heavy work of a round, block by block: verify, fold, aggregate. Called in a worker thread.

An update is folded only after all of it was verified, so a total never holds half of one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedbus.errors import FedbusError, LayoutError, TransferError
from fedbus.layout import Layout
from fedbus.plugins import Folds
from fedbus.spool import Spool
from fedbus.weights import BLOCK, MAX_PREFIX, check_header, check_update, header_bytes


@dataclass(frozen=True, slots=True)
class Arrived:
    """An update that is here, not yet verified."""

    agent: str
    digest: str
    weight: float
    spool: Spool


@dataclass(frozen=True, slots=True)
class Folding:
    """Where a round's updates go: the running total (float64, `layout.numbers` of them)."""

    layout: Layout
    aggregator: Folds
    total: Spool


def fold(folding: Folding, updates: Sequence[Arrived]) -> dict[str, str]:
    """Verify and fold each update; return why, for those that were refused."""
    refused: dict[str, str] = {}
    for update in updates:
        try:
            offset = _verify(folding.layout, update)
        except FedbusError as error:
            refused[update.agent] = str(error)
        else:
            _fold_one(folding, update, offset)
    return refused


def _verify(layout: Layout, update: Arrived) -> int:
    spool = update.spool
    if spool.digest() != update.digest:
        raise TransferError("the update's bytes are not those of its digest")
    prefix = spool.read(0, min(MAX_PREFIX, spool.size))
    offset = check_header(prefix, spool.size, layout, "delta").offset
    at = 0
    for block in spool.blocks(offset, BLOCK * 4):
        numbers = np.frombuffer(block, "<f4")
        try:
            check_update(numbers)
        except LayoutError as error:
            where = layout.name_at(at + int(np.isfinite(numbers).argmin()))
            raise LayoutError(f"tensor {where!r}: {error}") from error
        at += numbers.size
    return offset


def _fold_one(folding: Folding, update: Arrived, offset: int) -> None:
    at = 0
    for block in update.spool.blocks(offset, BLOCK * 4):
        numbers = np.frombuffer(block, "<f4")
        raw = folding.total.read(at * 8, numbers.size * 8)
        if folding.total.in_memory:
            folding.aggregator.fold(np.frombuffer(raw, np.float64), numbers, update.weight)
        else:
            total = np.frombuffer(raw, np.float64).copy()
            folding.aggregator.fold(total, numbers, update.weight)
            folding.total.write(at * 8, total.data.cast("B"))
        at += numbers.size


def aggregate(folding: Folding, base: Spool, weights: float, out: Spool) -> str:
    """Write the new model, a plain blob, into `out`; return its digest.

    Raises:
        LayoutError: the base is not a plain blob of this layout, or the mean overflows.
        StoreError: a disk is full.
    """
    layout = folding.layout
    prefix = base.read(0, min(MAX_PREFIX, base.size))
    offset = check_header(prefix, base.size, layout, "plain").offset
    head = header_bytes(layout, "plain")
    out.write(0, head)
    at = 0
    for block in base.blocks(offset, BLOCK * 4):
        numbers = np.frombuffer(block, "<f4")
        total = np.frombuffer(folding.total.read(at * 8, numbers.size * 8), np.float64)
        with np.errstate(over="ignore"):  # refused by name in the next line
            mean = (numbers + total / weights).astype("<f4")
        check_update(mean)
        out.write(len(head) + at * 4, mean.data.cast("B"))
        at += numbers.size
    return out.digest()
