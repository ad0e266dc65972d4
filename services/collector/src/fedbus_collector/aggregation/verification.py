"""Verification of updates: digest, header, and every number. Called in a worker thread.

An update is used after all of it was verified, so no aggregate contains a part of an update.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fedbus.blobs.spool import Spool
from fedbus.errors import LayoutError, TransferError
from fedbus.model.blob_header import MAX_BLOB_HEADER_BYTES, check_header
from fedbus.model.layout import Array, Layout
from fedbus.plugins import UpdateFacts
from fedbus_collector.aggregation.dtypes import InvalidNumber, check_difference
from fedbus_collector.aggregation.tensor_runs import Span, TensorRun, UpdateRuns, blocks_of, read


@dataclass(frozen=True, slots=True)
class ArrivedUpdate:
    """A complete update that is not yet verified."""

    facts: UpdateFacts
    digest: str
    spool: Spool

    @property
    def agent(self) -> str:
        """The agent that offered it."""
        return self.facts.agent


@dataclass(frozen=True, slots=True)
class VerifiedUpdate:
    """An update whose numbers begin at byte `offset` of its spool."""

    facts: UpdateFacts
    spool: Spool
    offset: int

    def read(self, run: TensorRun, block: Span) -> Array:
        """Return a block of a run, in the dtype of differences, as a view of the spool."""
        return read(self.spool, self.offset + run.delta, run.difference, block)


def verify(runs: UpdateRuns, update: ArrivedUpdate) -> VerifiedUpdate:
    """Verify an update.

    Raises:
        FedbusError: The bytes are not those that were offered, or no update of this layout, or a
            difference is not finite or larger than the range of its dtype.
    """
    spool = update.spool
    if spool.digest() != update.digest:
        raise TransferError("the update's bytes are not those of its digest")
    with spool.read(0, min(MAX_BLOB_HEADER_BYTES, spool.size)) as prefix:
        offset = check_header(prefix, spool.size, runs.updates, "delta").offset
    verified = VerifiedUpdate(update.facts, spool, offset)
    for run in runs.in_updates:
        for block in blocks_of(run):
            with tensor_named(runs.updates, run, block):
                check_difference(verified.read(run, block), run.dtype)
    return verified


@contextmanager
def tensor_named(layout: Layout, run: TensorRun, block: Span) -> Iterator[None]:
    """Add the name of the tensor to the message of an InvalidNumber."""
    try:
        yield
    except InvalidNumber as error:
        where = layout.name_at(run.first + block.at + error.index)
        raise LayoutError(f"tensor {where!r}: {error}") from error
