"""Verification of updates: digest, header, and every number. Called in a worker thread.

An update is used after all of it was verified, so no aggregate contains a part of an update.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import sqrt

import numpy as np

from fedbus.blobs.spool import Spool
from fedbus.errors import FedbusError, LayoutError, TransferError
from fedbus.model.blob_header import MAX_BLOB_HEADER_BYTES, check_header
from fedbus.model.layout import Array, Layout
from fedbus.plugins import UpdateFacts
from fedbus.plugins.collector_part_calls import AggregatorCalls
from fedbus.plugins.privacy_mechanism_calls import PrivacyMechanismCalls
from fedbus_collector.aggregation.compressed_update import UpdateDecoder
from fedbus_collector.aggregation.dtypes import InvalidNumber, check_difference
from fedbus_collector.aggregation.tensor_runs import Span, TensorRun, UpdateRuns, blocks_of, read


@dataclass(frozen=True, slots=True)
class ArrivedUpdate:
    """A complete update that is not yet verified.

    `delta` is the spool that a compressed update is decoded into; None: it is a delta.
    """

    facts: UpdateFacts
    digest: str
    spool: Spool
    delta: Spool | None = None

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


class UnusableUpdate(FedbusError):  # noqa: N818 - names the update, not the error
    """An update that a part of the strategy refuses; the message is its reason."""


@dataclass(frozen=True, slots=True)
class UpdateChecks:
    """What an update must pass before it counts.

    Attributes:
        runs: The layouts of the model and of its updates.
        aggregator: May refuse an update by its facts.
        mechanism: May refuse one by its norm; None without a privacy mechanism.
        numbers: The numbers of the strategy's state before the round, such as a clipping norm.
        decoder: Decodes compressed updates; None: they are deltas.
    """

    runs: UpdateRuns
    aggregator: AggregatorCalls
    mechanism: PrivacyMechanismCalls | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    decoder: UpdateDecoder | None = None

    def verified(self, update: ArrivedUpdate) -> VerifiedUpdate:
        """Return an update that may count, with its norm if the mechanism needs it.

        Raises:
            FedbusError: As `verify`; or a part refuses the update, or fails.
        """
        if reason := self.aggregator.refuses(update.facts):
            raise UnusableUpdate(reason)
        mechanism = self.mechanism
        measured = mechanism is not None and mechanism.needs_norm
        verified = verify(self.runs, update, self.decoder, measured=measured)
        if mechanism and (reason := mechanism.refuses_update(verified.facts, self.numbers)):
            raise UnusableUpdate(reason)
        return verified


def verify(
    runs: UpdateRuns,
    update: ArrivedUpdate,
    decoder: UpdateDecoder | None = None,
    *,
    measured: bool = False,
) -> VerifiedUpdate:
    """Verify an update, decoded if need be; if it is to be `measured`, its facts have its norm.

    Raises:
        FedbusError: The bytes are not those that were offered, or no update of this layout, or a
            difference is not finite or larger than the range of its dtype.
    """
    spool = update.spool
    if spool.digest() != update.digest:
        raise TransferError("the update's bytes are not those of its digest")
    if decoder is not None and update.delta is not None:
        decoder.decode(spool, update.delta)
        spool = update.delta
    with spool.read(0, min(MAX_BLOB_HEADER_BYTES, spool.size)) as prefix:
        offset = check_header(prefix, spool.size, runs.updates, "delta").offset
    verified, squares = VerifiedUpdate(update.facts, spool, offset), 0.0
    for run in runs.in_updates:
        for block in blocks_of(run):
            numbers = verified.read(run, block)
            with tensor_named(runs.updates, run, block):
                check_difference(numbers, run.dtype)
            if measured and run.treatment == "trained":
                squares += sum_of_squares(numbers)
    if not measured:
        return verified
    return replace(verified, facts=replace(update.facts, norm=sqrt(squares)))


def sum_of_squares(numbers: Array) -> float:
    """Return the sum of the squares in float64, infinite if it is too large."""
    wide = numbers.astype(np.float64, copy=False)
    with np.errstate(over="ignore"):
        return float(wide @ wide)


@contextmanager
def tensor_named(layout: Layout, run: TensorRun, block: Span) -> Iterator[None]:
    """Add the name of the tensor to the message of an InvalidNumber."""
    try:
        yield
    except InvalidNumber as error:
        where = layout.name_at(run.first + block.at + error.index)
        raise LayoutError(f"tensor {where!r}: {error}") from error
