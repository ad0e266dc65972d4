"""New version of a model, from its base and a round's combined update. Called in a worker thread.

Trained tensors pass through the privacy mechanism, the update transforms and the server optimizer.
Statistics and whole numbers change by the combined update alone; local tensors are the base's.
Frozen numbers keep the base's value: their combined update is zero, and what an optimizer with
momentum would add to them is dropped, while its arrays change as with a zero update.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from fedbus.blobs.spool import Spool
from fedbus.errors import PluginError
from fedbus.model.blob import BLOCK_NUMBERS
from fedbus.model.blob_header import header_bytes
from fedbus.model.layout import Array
from fedbus.plugins import Combined
from fedbus_collector.aggregation.combined_blocks import CombinedBlocks
from fedbus_collector.aggregation.dtypes import add_mean, as_dtype
from fedbus_collector.aggregation.server_step import ServerStep
from fedbus_collector.aggregation.state_blocks import StateBlocks, StrategyArrays, plain_offset
from fedbus_collector.aggregation.tensor_runs import (
    THIRD_PARTY_BLOCK_NUMBERS,
    Span,
    TensorRun,
    UpdateRuns,
    blocks_of,
    read,
)
from fedbus_collector.aggregation.verification import sum_of_squares, tensor_named


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
        self._offset = plain_offset(base, runs.layout)
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
        arrays = None if state is None else StateBlocks(state, self._numbers)
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

    def _new(self, old: Array, run: TensorRun, block: Span, arrays: "StateBlocks | None") -> Array:
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
        place = Span(run.trained + block.at, block.numbers)
        frozen = self._step.frozen_at(place)
        if frozen is not None:
            combined = replace(combined, update=np.where(frozen, 0.0, combined.update))
        state = {} if arrays is None else arrays.read(place)
        self._step.observe(combined.update, place, state, frozen)
        new = self._stepped(old, combined, state)
        if arrays is not None:
            arrays.write(place, state, self._step.state_keeper)
        if frozen is not None:
            new[frozen] = old[frozen]
        return new

    def _stepped(
        self, old: Array, combined: Combined, state: Mapping[str, NDArray[np.float64]]
    ) -> Array:
        """Return what the server optimizer makes of a block, or the base plus the update."""
        optimizer = self._step.optimizer
        if optimizer is None:
            return add_mean(old, np.array(combined.update), self._step.mean)
        own = self._step.state_of_optimizer(state)
        new = optimizer.apply(old.astype(np.float64), combined, own)
        return as_dtype(new, old.dtype, f"the new value of {optimizer.caller.part}")

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
