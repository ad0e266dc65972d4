"""Runs of a layout: adjacent tensors of one dtype and one treatment, read as one flat array. Pure.

A layout of trained float32 tensors only is one run. Each integer tensor between float tensors, such
as the batch counter of a batch normalisation, splits it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal

import numpy as np

from fedbus.blobs.spool import Spool
from fedbus.model.blob import BLOCK_NUMBERS
from fedbus.model.layout import DIFFERENCES, Array, Layout, Tensor
from fedbus.model.sections import update_layout

Treatment = Literal["trained", "statistic", "whole", "local", "section"]
"""How a tensor gets its new value.

`trained`: by the strategy's rule and the server optimizer; `statistic` (floats) and `whole`
(integers, booleans): by the updates alone; `local`: from the base. `section`: in updates only.
"""

STACK_BYTES: Final = 8 * 2**20
"""Size of a block of all updates of a round, float64."""
THIRD_PARTY_STACK_BYTES: Final = 16 * 2**20
"""The same where each block is copied and costs a thread."""
THIRD_PARTY_BLOCK_NUMBERS: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class TensorRun:
    """Adjacent tensors of one dtype and treatment, and their offsets.

    Attributes:
        numbers: Numbers in the run.
        first: Numbers before the run in the layout of updates.
        plain: Bytes before the run in the data of a plain blob.
        delta: Bytes before the run in the data of an update.
        total: Numbers before the run in the running total.
        trained: Numbers of trained tensors before the run: its place in each section.
    """

    dtype: str
    treatment: Treatment
    numbers: int
    first: int
    plain: int
    delta: int
    total: int
    trained: int

    @property
    def difference(self) -> str:
        """The dtype of the run in an update."""
        return DIFFERENCES.get(self.dtype, self.dtype)


@dataclass(frozen=True, slots=True)
class Span:
    """A block of a run: `numbers` numbers from position `at`."""

    at: int
    numbers: int


@dataclass(frozen=True, slots=True)
class UpdateRuns:
    """The layouts of a model and of its updates, and their runs.

    Attributes:
        model: The runs of the model's tensors.
        sections: The run of each section, by its name.
    """

    layout: Layout
    updates: Layout
    model: tuple[TensorRun, ...]
    sections: dict[str, TensorRun]

    @classmethod
    def of(cls, layout: Layout, sections: tuple[str, ...] = ()) -> "UpdateRuns":
        """Split the layouts; raise LayoutError if there are sections but no trained tensor."""
        updates = update_layout(layout, sections)
        runs = runs_of(updates, len(sections))
        end = len(runs) - len(sections)
        return cls(layout, updates, runs[:end], dict(zip(sections, runs[end:], strict=True)))

    @property
    def in_updates(self) -> Iterator[TensorRun]:
        """The runs of an update: of all tensors that are not local, and of the sections."""
        yield from (run for run in self.model if run.treatment != "local")
        yield from self.sections.values()


def runs_of(layout: Layout, sections: int = 0, *, joined: bool = True) -> tuple[TensorRun, ...]:
    """Split a layout into runs, in its order; the last `sections` tensors are sections.

    Without `joined`, each tensor is a run.
    """
    end = len(layout.tensors) - sections

    def kind(item: tuple[int, Tensor]) -> tuple[str, Treatment, int]:
        at, tensor = item
        treatment = "section" if at >= end else _treatment(tensor)
        return tensor.dtype, treatment, at if treatment == "section" or not joined else 0

    runs: list[TensorRun] = []
    first = plain = delta = total = trained = 0
    for (dtype, treatment, _), tensors in groupby(enumerate(layout.tensors), kind):
        numbers = sum(tensor.numbers for _, tensor in tensors)
        run = TensorRun(dtype, treatment, numbers, first, plain, delta, total, trained)
        runs.append(run)
        first += numbers
        plain += numbers * np.dtype(dtype).itemsize
        if treatment == "trained":
            trained += numbers
        if treatment != "local":
            delta += numbers * np.dtype(run.difference).itemsize
            total += numbers
    return tuple(runs)


def _treatment(tensor: Tensor) -> Treatment:
    if tensor.role == "local":
        return "local"
    if np.dtype(tensor.dtype).kind != "f":
        return "whole"
    return "trained" if tensor.role == "weight" else "statistic"


def blocks_of(run: TensorRun, most: int = BLOCK_NUMBERS) -> Iterator[Span]:
    """Split a run into blocks of at most `most` numbers; by default, they fit a core's cache."""
    for at in range(0, run.numbers, most):
        yield Span(at, min(most, run.numbers - at))


def stack_length(rows: int, *, third_party: bool) -> int:
    """Return the numbers of a block of which each of `rows` updates has a row in memory."""
    most = THIRD_PARTY_BLOCK_NUMBERS if third_party else BLOCK_NUMBERS
    size = THIRD_PARTY_STACK_BYTES if third_party else STACK_BYTES
    return max(1, min(most, size // (8 * rows)))


def read(spool: Spool, start: int, dtype: str, block: Span) -> Array:
    """Return a block of a run that begins at byte `start` of a spool, as a view of the spool."""
    kind = np.dtype(dtype).newbyteorder("<")
    raw = spool.read(start + block.at * kind.itemsize, block.numbers * kind.itemsize)
    return np.frombuffer(raw, kind)
