"""The data an agent trains on, in batches that are counted and can be stopped."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np

from fedbus.data.description import NOTHING, DatasetInfo
from fedbus.errors import Stopped, TrainingError
from fedbus.model.layout import Array
from fedbus.training.params import TrainingParams

Batch = tuple[Array, Array]
"""Inputs (rows, …) and truths (rows, …)."""

SHUFFLE_BUFFER_BYTES = 8 * 2**20
"""Rows are shuffled within so many bytes of inputs: a large data set is never held twice."""

BatchTransform = Callable[[Batch, np.random.Generator], Batch]
"""What becomes of a batch on its way to a trainer; all chance comes from the generator."""


def _never() -> bool:
    return False


class Dataset:
    """Rows in batches; whoever walks them can be watched and stopped.

    Args:
        examples: How many rows there are: the weight of an update.
        batches: Makes a new pass over all rows; the sizes of the batches are the loader's choice.
        stop: Says whether to stop; asked before each batch, and by whoever works long on one, from
            the thread that trains.
        change: What becomes of each batch before it is handed out.
        about: Names of classes and columns, and remarks.
    """

    def __init__(
        self,
        examples: int,
        batches: Callable[[], Iterable[Batch]],
        stop: Callable[[], bool] = _never,
        change: BatchTransform | None = None,
        info: DatasetInfo = NOTHING,
    ) -> None:
        self.examples = examples
        self.info = info
        self._batches = batches
        self._stop = stop
        self._change = change
        self._seen = 0
        self._planned = examples

    def with_stop(self, stop: Callable[[], bool]) -> "Dataset":
        """Give the same rows to one task: with a count of its own and a way to stop it."""
        return Dataset(self.examples, self._batches, stop, self._change, self.info)

    def changed(self, change: BatchTransform) -> "Dataset":
        """Give the same rows, each batch changed: shuffled and cut first, so that only it is held.

        The chance is that of the task's seed and the epoch: a task done again sees the same rows.
        """
        return Dataset(self.examples, self._batches, self._stop, change, self.info)

    @property
    def progress(self) -> float:
        """How much of the walk is done, 0 to 1 across all epochs; any thread may ask."""
        return min(1.0, self._seen / self._planned) if self._planned else 0.0

    def check_stop(self) -> None:
        """Ask whether to stop: for a trainer that works long on one batch, in between.

        It says as well that the trainer is not hung.

        Raises:
            Stopped: the task was asked to stop.
        """
        if self._stop():
            raise Stopped("asked to stop")

    def batches(self) -> Iterator[Batch]:
        """Walk all rows once, in the loader's order and batches.

        Raises:
            Stopped: at the next batch after the task was asked to stop.
        """
        return self._counted(self.peek())

    def peek(self) -> Iterator[Batch]:
        """Walk like `batches`, but neither counted nor stopped."""
        return self._through(self._batches(), np.random.default_rng(0))

    def steps(self, params: TrainingParams) -> Iterator[Batch]:
        """Walk what `params` asks for: every epoch shuffled by its seed, cut into its batches.

        An epoch ends after `steps_per_epoch` batches or with the data. Only its last batch may be
        shorter than `batch_size`, and it never has one row alone: that is joined to the batch
        before, since layers that normalize batches find no variance in it.

        Raises:
            Stopped: at the next batch after the task was asked to stop.
        """
        return (batch for epoch in self.epochs(params) for batch in epoch)

    def epochs(self, params: TrainingParams) -> Iterator[Iterator[Batch]]:
        """Walk like `steps`, epoch by epoch: each is walked to its end before the next is begun."""
        self._planned = self._rows_in_epoch(params) * params.epochs
        return (self._counted(self._epoch(params, epoch)) for epoch in range(params.epochs))

    def steps_in_epoch(self, params: TrainingParams) -> int:
        """Count the batches of one epoch."""
        whole = self._batches_of(params.batch_size)
        return min(whole, params.steps_per_epoch or whole)

    def _rows_in_epoch(self, params: TrainingParams) -> int:
        steps = self.steps_in_epoch(params)
        whole = steps == self._batches_of(params.batch_size)
        return self.examples if whole else steps * params.batch_size

    def _batches_of(self, size: int) -> int:
        return -(-self.examples // size) - joins_last_row(self.examples, size)

    def _epoch(self, params: TrainingParams, epoch: int) -> Iterator[Batch]:
        chance = np.random.default_rng((params.seed, epoch))
        size = params.batch_size
        batches = _joined(shuffled(self._batches(), size, chance), size)
        # Of its own, so that augmentations do not change the order of the rows.
        change = np.random.default_rng((params.seed, epoch, 1))
        return self._through(islice(batches, params.steps_per_epoch), change)

    def _through(self, batches: Iterable[Batch], rng: np.random.Generator) -> Iterator[Batch]:
        change = self._change
        return iter(batches) if change is None else (change(batch, rng) for batch in batches)

    def _counted(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for x, y in batches:
            self.check_stop()
            yield x, y
            self._seen += len(x)


def joins_last_row(examples: int, size: int) -> bool:
    """Tell whether batches of `size` rows leave one row, which is joined to the last of them."""
    return examples > size > 1 and examples % size == 1


def _joined(batches: Iterator[Batch], size: int) -> Iterator[Batch]:
    """Join a last batch of one row to the batch before it."""
    held = next(batches, None)
    if held is None:
        return
    for x, y in batches:
        if len(x) == 1 < size:
            held = np.concatenate([held[0], x]), np.concatenate([held[1], y])
        else:
            yield held
            held = x, y
    yield held


def shuffled(
    batches: Iterable[Batch],
    size: int,
    rng: np.random.Generator,
    within: int = SHUFFLE_BUFFER_BYTES,
) -> Iterator[Batch]:
    """Mix rows by chance, `within` bytes of inputs at a time, and cut batches of `size` rows."""
    held: list[Batch] = []
    rows = weight = 0
    for x, y in batches:
        held.append((x, y))
        rows += len(x)
        weight += x.nbytes
        if weight >= within and rows >= size:
            *full, rest = _cut(held, size, rng)
            yield from full
            held, rows, weight = [rest], len(rest[0]), rest[0].nbytes
    if rows:
        yield from _cut(held, size, rng)


def _cut(held: list[Batch], size: int, rng: np.random.Generator) -> Iterator[Batch]:
    x = np.concatenate([x for x, _ in held])
    y = np.concatenate([y for _, y in held])
    order = rng.permutation(len(x))
    for start in range(0, len(x), size):
        chosen = order[start : start + size]
        yield x[chosen], y[chosen]


def from_arrays(x: Array, y: Array, batch: int = 32, info: DatasetInfo = NOTHING) -> Dataset:
    """Make a data set of two arrays held in memory; x: (rows, …), y: (rows, …).

    Raises:
        TrainingError: they have not the same number of rows, or none.
    """
    if not x.shape or x.shape[:1] != y.shape[:1] or not len(x):
        raise TrainingError(f"x is {x.shape} and y is {y.shape}: one row of each per example")
    starts = range(0, len(x), batch)
    cut = lambda: ((x[i : i + batch], y[i : i + batch]) for i in starts)  # noqa: E731 - a pass
    return Dataset(len(x), cut, info=info)
