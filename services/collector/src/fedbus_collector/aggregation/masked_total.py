"""Total of a round's masked updates, whole numbers modulo 2^m, and its mean without the masks.

No masked update can be read, so all that is verified is its header and its size. The sum can be
read once the masks are subtracted, which `combine` does. Called in a worker thread.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from fedbus.blobs.spool import Spool
from fedbus.errors import FedbusError, LayoutError, MaskingError, TransferError
from fedbus.model.blob_header import MAX_BLOB_HEADER_BYTES
from fedbus.model.fixed_point import fixed_point_tensors, half, sum_bits
from fedbus.model.layout import Layout
from fedbus.plugins import UpdateFacts
from fedbus.secure_aggregation.bit_packing import packed_size, unpack_block
from fedbus.secure_aggregation.mask_streams import BLOCK_NUMBERS, Mask, Words, word_type
from fedbus.secure_aggregation.masked_blob import (
    check_masked_blob,
    masked_header,
    masked_numbers,
    unmask_block,
)
from fedbus.secure_aggregation.masked_task import MaskedTask
from fedbus.wire.encryption import FixedPoint
from fedbus.wire.round_records import Plan
from fedbus_collector.aggregation.combined_blocks import UsedCoefficients
from fedbus_collector.aggregation.tensor_runs import Span, TensorRun, read
from fedbus_collector.aggregation.verification import ArrivedUpdate, UnusableUpdate, UpdateChecks

Masks = Callable[[], Iterable[Mask]]
"""Returns the masks that are left in the sum of the survivors, with the signs to remove them."""


def masked_total_bytes(fixed_point: FixedPoint, layout: Layout) -> int:
    """Return the size of a total: one word for each number of an update."""
    bits = sum_bits(fixed_point.bits, fixed_point.max_agents)
    return masked_numbers(layout) * word_type(bits).itemsize


class MaskedTotal:
    """The sum of masked updates, in a spool of `masked_total_bytes` zeros.

    Args:
        checks: Its aggregator weighs the updates; their numbers cannot be checked.
        plan: The round's plan, with the ranges.
        fixed_point: The job's.
        spool: Of `masked_total_bytes` zeros.
        masks: Called by `combine`, after the agents have revealed what it needs.
    """

    keeps_spools = False

    def __init__(
        self,
        checks: UpdateChecks,
        plan: Plan,
        fixed_point: FixedPoint,
        spool: Spool,
        masks: Masks,
    ) -> None:
        if checks.runs.sections:
            raise LayoutError("masked updates have no sections; take a strategy without them")
        self.spool = spool
        self._checks = checks
        self._plan = plan
        self._fixed_point = fixed_point
        self._masks = masks
        self._layout = checks.runs.layout
        self._numbers = masked_numbers(self._layout)
        self._bits = sum_bits(fixed_point.bits, fixed_point.max_agents)
        self._type = word_type(self._bits)
        self._facts: dict[str, UpdateFacts] = {}

    def take(self, updates: Sequence[ArrivedUpdate]) -> dict[str, str]:
        """Verify and add each update; return the reason for each agent whose update is refused.

        Raises:
            StoreError: The disk is full.
        """
        refused: dict[str, str] = {}
        for update in updates:
            try:
                offset, last = self._verified(update)
            except FedbusError as error:
                refused[update.agent] = str(error)
                continue
            self._facts[update.agent] = update.facts
            self._add_all(update.spool, offset, last)
        return refused

    def _verified(self, update: ArrivedUpdate) -> tuple[int, Words]:
        """Return where an update's numbers begin, and its last block, which has the padding.

        Raises:
            FedbusError: The update cannot count; nothing of it was added.
        """
        facts, spool = update.facts, update.spool
        if facts.agent in self._facts:
            raise UnusableUpdate("a second update of this agent")
        if len(self._facts) == self._fixed_point.max_agents:
            raise UnusableUpdate(f"{len(self._facts)} updates are in the sum, which holds no more")
        if reason := self._checks.aggregator.refuses(facts):
            raise UnusableUpdate(reason)
        if self._checks.aggregator.weight(facts) != facts.examples:
            raise UnusableUpdate("masked with another weight than the aggregator gives it")
        if spool.digest() != update.digest:
            raise TransferError("the update's bytes are not those of its digest")
        expected = masked_header(
            layout=self._layout,
            task=MaskedTask(job=self._plan.job, round=self._plan.round, task=self._plan.task),
            fixed_point=self._fixed_point,
            ranges=self._plan.ranges,
            max_examples=self._plan.max_examples,
            weight=facts.examples,
        )
        with spool.read(0, min(MAX_BLOB_HEADER_BYTES, spool.size)) as prefix:
            offset = check_masked_blob(prefix, spool.size, expected, self._numbers)
        return offset, self._unpacked(spool, offset, self._blocks()[-1])

    def _add_all(self, spool: Spool, offset: int, last: Words) -> None:
        *blocks, end = self._blocks()
        for block in blocks:
            self._add(self._unpacked(spool, offset, block), block)
        self._add(last, end)

    def _unpacked(self, spool: Spool, offset: int, block: Span) -> Words:
        start = offset + packed_size(block.at, self._bits)
        with spool.read(start, packed_size(block.numbers, self._bits)) as packed:
            return unpack_block(packed, block.numbers, self._bits)

    def _add(self, numbers: Words, block: Span) -> None:
        held = self._held(block)
        np.add(held, numbers, out=held)
        self._put_back(held, block)

    def _blocks(self) -> list[Span]:
        """Return the blocks of all numbers, as they are packed and masked."""
        starts = range(0, self._numbers, BLOCK_NUMBERS)
        return [Span(at, min(BLOCK_NUMBERS, self._numbers - at)) for at in starts]

    def _held(self, block: Span) -> Words:
        """Return a block of the total, writable."""
        found = read(self.spool, 0, self._type.str, block)
        return found if self.spool.in_memory else found.copy()

    def _put_back(self, held: Words, block: Span) -> None:
        if not self.spool.in_memory:
            self.spool.write(block.at * self._type.itemsize, held.data.cast("B"))

    def facts(self, agents: Sequence[str]) -> tuple[UpdateFacts, ...]:
        """Return the facts of the updates of these agents, in this order."""
        return tuple(self._facts[agent] for agent in agents)

    def combine(self, agents: Sequence[str], base: Spool) -> "MaskedMean":  # noqa: ARG002 - a sum needs no base
        """Subtract the masks from the total, and return the mean.

        Raises:
            MaskingError: The agents are not those whose updates were added, or the sum is one that
                no such updates have.
            PluginError: All weights are 0 and there is no divisor.
        """
        if set(agents) != self._facts.keys():
            raise MaskingError("the survivors are not the agents whose updates were added")
        masks = tuple(self._masks())
        for block in self._blocks():
            held = self._held(block)
            unmask_block(held, masks, block.at, self._bits)
            self._check(held)
            self._put_back(held, block)
        aggregator = self._checks.aggregator
        weights = [aggregator.weight(self._facts[agent]) for agent in agents]
        shares = dict(zip(agents, aggregator.shares(weights), strict=True))
        return MaskedMean(
            total=self.spool,
            kind=self._type.str,
            layout=self._layout,
            ranges=self._plan.ranges,
            bits=self._fixed_point.bits,
            count=len(agents),
            weights=aggregator.divisor_of(weights) / self._plan.max_examples,
            used=UsedCoefficients(agents=sum(map(bool, shares.values())), updates=shares),
        )

    def _check(self, numbers: Words) -> None:
        greatest = 2 * half(self._fixed_point.bits) * len(self._facts)
        if int(numbers.max()) > greatest:
            raise MaskingError(
                "the sum of the masked updates is not one of their numbers: an agent masked another"
                " update than it may, or with other masks"
            )

    def close(self) -> None:
        """Free the total."""
        self.spool.close()


class MaskedMean:
    """The blocks of the weighted mean, from a sum of whole numbers; see `from_fixed_point`."""

    block_numbers: None = None

    def __init__(  # noqa: PLR0913 - as `from_fixed_point`
        self,
        *,
        total: Spool,
        kind: str,
        layout: Layout,
        ranges: Sequence[int],
        bits: int,
        count: int,
        weights: float,
        used: UsedCoefficients,
    ) -> None:
        self.used = used
        self._total, self._kind = total, kind
        self._offset = count * half(bits)
        sizes = [tensor.numbers for tensor in fixed_point_tensors(layout)]
        self._ends = np.array([*accumulate(sizes)], np.int64)
        self._factors = [2.0**exponent / half(bits) / weights for exponent in ranges]

    def fill(self, out: NDArray[np.float64], run: TensorRun, block: Span) -> None:
        """Write a block of the mean into `out`; it may have numbers of several tensors."""
        place = Span(run.total + block.at, block.numbers)
        numbers = read(self._total, 0, self._kind, place).astype(np.int64)
        numbers -= self._offset
        out[:] = numbers
        at, tensor = 0, int(np.searchsorted(self._ends, place.at, side="right"))
        while at < block.numbers:
            end = min(block.numbers, int(self._ends[tensor]) - place.at)
            out[at:end] *= self._factors[tensor]
            at, tensor = end, tensor + 1
