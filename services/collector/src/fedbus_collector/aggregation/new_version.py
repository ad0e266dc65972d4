"""New version of a model, from its base and a round's combined update. Called in a worker thread.

Trained tensors pass through the privacy mechanism, the update transforms and the server optimizer.
Statistics and whole numbers change by the combined update alone; local tensors are the base's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from fedbus.blobs.spool import Spool
from fedbus.errors import LayoutError, PluginError
from fedbus.model.blob import BLOCK_NUMBERS
from fedbus.model.blob_header import MAX_BLOB_HEADER_BYTES, check_header, header_bytes
from fedbus.model.layout import Array, Layout
from fedbus.plugins import Combined, UpdateFacts
from fedbus.plugins.collector_part_calls import CombinedTransformCalls, ServerOptimizerCalls
from fedbus.plugins.strategy_numbers import next_numbers
from fedbus_collector.aggregation.combined_blocks import CombinedBlocks
from fedbus_collector.aggregation.dtypes import InvalidNumber, add_mean, as_dtype
from fedbus_collector.aggregation.private_step import PrivateStep
from fedbus_collector.aggregation.tensor_runs import (
    THIRD_PARTY_BLOCK_NUMBERS,
    Span,
    TensorRun,
    UpdateRuns,
    blocks_of,
    read,
    runs_of,
)
from fedbus_collector.aggregation.verification import sum_of_squares, tensor_named

STATE_DTYPE = "float32"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStep:
    """What a round's combined update passes through on its way into the model.

    Attributes:
        aggregator: The aggregator in words, for errors.
        population: Number of agents that may take part in the job; 0 if it does not say.
        round: 1 in the first round of the strategy's state.
        numbers: What the parts keep from round to round.
        private: The privacy mechanism's step, before all others.
    """

    optimizer: ServerOptimizerCalls | None = None
    transforms: tuple[CombinedTransformCalls, ...] = ()
    aggregator: str = ""
    population: int = 0
    round: int = 1
    numbers: Mapping[str, float] = field(default_factory=dict)
    private: PrivateStep | None = None

    @property
    def mean(self) -> str:
        """What is added to the base, in words that name the part which computed it."""
        if self.transforms:  # the first one runs last
            return f"the update of {self.transforms[0].caller.part}"
        if self.private is not None:
            return f"the update of {self.private.mechanism.caller.part}"
        return f"the combined update of {self.aggregator}" if self.aggregator else "the mean"

    @property
    def plain(self) -> bool:
        """Whether the combined update is added to the base as it is."""
        return self.optimizer is None and not self.transforms and self.private is None

    def with_next_numbers(self, facts: Sequence[UpdateFacts]) -> "ServerStep":
        """Return the step with the numbers of this round; the parts are asked as they are run.

        With a privacy mechanism, the other parts get no facts.

        Raises:
            PluginError: A part failed, or returned what a state cannot hold.
        """
        numbers = self.numbers
        if self.private is not None:
            numbers, facts = self.private.next_numbers(numbers, facts), ()
        for transform in reversed(self.transforms):
            numbers = next_numbers(transform, numbers, facts)
        if self.optimizer is not None:
            numbers = next_numbers(self.optimizer, numbers, facts)
        return replace(self, numbers=numbers)

    @property
    def third_party(self) -> bool:
        """Whether a part that fedbus does not ship is called for each block."""
        optimizer = () if self.optimizer is None else (self.optimizer.caller,)
        private = () if self.private is None else (self.private.mechanism.caller,)
        callers = (*private, *(each.caller for each in self.transforms), *optimizer)
        return any(caller.third_party for caller in callers)


@dataclass(frozen=True, slots=True)
class StrategyArrays:
    """A strategy's state arrays: the base version's, None for zeros, and the spool of the new."""

    layout: Layout
    old: Spool | None
    new: Spool


class NewVersion:
    """Writes a version, a blob in the encoding `plain`, and the state arrays beside it.

    `distance` is the greatest distance of two updates, if the privacy mechanism needs it.

    Raises:
        LayoutError: The base or the state is not a plain blob of its layout, or a number does not
            fit its dtype.
        PluginError: A part of the strategy failed, or an aggregator combined the same updates to
            another norm than the one that the privacy mechanism clips by.
        StoreError: The disk is full.
    """

    def __init__(
        self,
        runs: UpdateRuns,
        combined: CombinedBlocks,
        step: ServerStep,
        base: Spool,
        distance: float | None = None,
    ) -> None:
        self._runs, self._combined, self._step, self._base = runs, combined, step, base
        self._offset = _offset(base, runs.layout)
        usual = THIRD_PARTY_BLOCK_NUMBERS if step.third_party else BLOCK_NUMBERS
        self._numbers = most = combined.block_numbers or usual
        # Arrays of its own for each block would take most of the time.
        self._update = np.empty(most)
        self._sections = {name: np.empty(most) for name in runs.sections}
        self._norm: float | None = None
        self._written_squares = 0.0
        self._distance = distance

    def write(self, out: Spool, state: StrategyArrays | None = None) -> None:
        """Write the version into `out`, and the new state."""
        arrays = None if state is None else _StateBlocks(state, self._numbers)
        private = self._step.private
        if private is not None and private.mechanism.needs_combined_norm:
            self._norm = self._measure()
        layout = self._runs.layout
        head = header_bytes(layout, "plain")
        out.write(0, head)
        for run in self._runs.model:
            size = np.dtype(run.dtype).itemsize
            for block in blocks_of(run, self._numbers):
                old = self._old(run, block)
                with tensor_named(layout, run, block):
                    new = self._new(old, run, block, arrays)
                out.write(len(head) + run.plain + block.at * size, new.data.cast("B"))
        self._check_norm()

    def _check_norm(self) -> None:
        """Raise PluginError if the blocks that were written are not the ones that were measured.

        An aggregator of a third party is called twice for each block. If it may return a longer one
        after its norm was measured, the mechanism clips too little, and its noise hides too little.
        """
        written = sqrt(self._written_squares)
        if self._norm is None or written == self._norm:  # the same numbers, in the same order
            return
        aggregator = self._step.aggregator or "the aggregator"
        raise PluginError(
            f"{aggregator} combined the same updates twice, to the norm {self._norm:g} and then to"
            f" {written:g}; with a privacy mechanism it must return the same block each time"
        )

    def _new(self, old: Array, run: TensorRun, block: Span, arrays: "_StateBlocks | None") -> Array:
        if run.treatment == "local":
            return old
        update = self._fill(old, run, block)
        if run.treatment != "trained":
            return add_mean(old, update)
        if self._step.plain:
            return add_mean(old, update, self._step.mean)
        if self._norm is not None:
            self._written_squares += sum_of_squares(update)
        combined = self._transformed(run, block, update)
        if self._step.optimizer is None:
            return add_mean(old, np.array(combined.update), self._step.mean)
        place = Span(run.trained + block.at, block.numbers)
        state = {} if arrays is None else arrays.read(place)
        new = self._step.optimizer.apply(old.astype(np.float64), combined, state)
        if arrays is not None:
            arrays.write(place, state, self._step.optimizer.caller.part)
        what = f"the new value of {self._step.optimizer.caller.part}"
        return as_dtype(new, old.dtype, what)

    def _old(self, run: TensorRun, block: Span) -> Array:
        return read(self._base, self._offset + run.plain, run.dtype, block)

    def _fill(self, old: Array, run: TensorRun, block: Span) -> NDArray[np.float64]:
        """Return a block of the combined update, valid until the next call."""
        update = self._update[: block.numbers]
        self._combined.fill(update, run, block)
        if run.treatment == "trained" and (scale := self._combined.used.base) != 1:
            update += np.multiply(old, scale - 1, dtype=np.float64)
        return update

    def _measure(self) -> float:
        """Return the L2 norm of the combined update, in one more pass over its blocks."""
        squares = 0.0
        for run in self._runs.model:
            for block in blocks_of(run, self._numbers) if run.treatment == "trained" else ():
                squares += sum_of_squares(self._fill(self._old(run, block), run, block))
        return sqrt(squares)

    def _transformed(self, run: TensorRun, block: Span, update: NDArray[np.float64]) -> Combined:
        """Return the combined update of a block after the mechanism and the transforms."""
        place = Span(run.trained + block.at, block.numbers)
        sections = {}
        for name, section in self._runs.sections.items():
            sections[name] = self._sections[name][: block.numbers]
            self._combined.fill(sections[name], section, place)
        combined = Combined(
            update=update,
            sections=sections,
            agents=self._combined.used.agents,
            population=self._step.population,
            round=self._step.round,
            numbers=self._step.numbers,
            position=place.at,
            norm=self._norm,
            distance=self._distance,
        )
        if self._step.private is not None:
            combined = self._step.private.apply(combined)
        for transform in reversed(self._step.transforms):
            combined = transform.transform(combined)  # the last one first
        return combined


class _StateBlocks:
    """Reads blocks of a strategy's old arrays, and writes those of its new ones."""

    def __init__(self, arrays: StrategyArrays, numbers: int) -> None:
        self._arrays = arrays
        head = header_bytes(arrays.layout, "plain")
        arrays.new.write(0, head)
        self._start = len(head)
        self._old = 0 if arrays.old is None else _offset(arrays.old, arrays.layout)
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


def _offset(blob: Spool, layout: Layout) -> int:
    with blob.read(0, min(MAX_BLOB_HEADER_BYTES, blob.size)) as prefix:
        return check_header(prefix, blob.size, layout, "plain").offset
