"""Data sets in batches, with shuffling, progress and cancellation."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np

from fedbus.data.description import NO_INFO, DatasetInfo
from fedbus.errors import Stopped, TrainingError
from fedbus.model.layout import Array
from fedbus.training.params import TrainingParams

Batch = tuple[Array, Array]
"""Inputs x, shape (rows, …), and targets y, shape (rows, …)."""

SHUFFLE_BUFFER_BYTES = 8 * 2**20
"""Size of the shuffle buffer, in bytes of inputs: a large data set is never in memory twice."""

BatchTransform = Callable[[Batch, "np.random.Generator"], Batch]
"""Transform of a batch before a trainer gets it; the generator is its only randomness."""


def _never() -> bool:
    return False


def _do_nothing() -> None:
    """Count no step."""


class Dataset:
    """Rows in batches, with progress and a stop condition.

    Args:
        examples: Number of rows, the weight of an update.
        batches: Starts a new pass over all rows; the loader chooses the batch sizes.
        stop: Returns whether to stop; called before each batch in the training thread.
        transform: Transform of each batch; may be read.
        info: Names of classes and columns, and notes.
        on_step: Called for each batch of `steps` or `epochs`, before the trainer gets it.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - all but two have a good default
        self,
        examples: int,
        batches: Callable[[], Iterable[Batch]],
        stop: Callable[[], bool] = _never,
        transform: BatchTransform | None = None,
        info: DatasetInfo = NO_INFO,
        on_step: Callable[[], None] = _do_nothing,
    ) -> None:
        self.examples = examples
        self.info = info
        self._batches = batches
        self._stop = stop
        self.transform = transform
        self._on_step = on_step
        self._seen = 0
        self._planned = examples

    def with_stop(
        self, stop: Callable[[], bool], on_step: Callable[[], None] = _do_nothing
    ) -> "Dataset":
        """Return the same rows with a progress, a stop condition and steps of one task's own."""
        return Dataset(self.examples, self._batches, stop, self.transform, self.info, on_step)

    def transformed(self, transform: BatchTransform) -> "Dataset":
        """Return the same rows with a transform of each batch, applied after shuffling.

        It is seeded by the task's seed and the epoch, so a repeated task has equal rows.
        """
        return Dataset(
            self.examples, self._batches, self._stop, transform, self.info, self._on_step
        )

    @property
    def progress(self) -> float:
        """Progress over all epochs, from 0 to 1; may be read from any thread."""
        return min(1.0, self._seen / self._planned) if self._planned else 0.0

    def check_stop(self) -> None:
        """Check the stop condition; trainers that work long on a batch call it in between.

        The call also shows the watchdog that the trainer is alive.

        Raises:
            Stopped: the task is to stop.
        """
        if self._stop():
            raise Stopped("asked to stop")

    def batches(self) -> Iterator[Batch]:
        """Iterate over all rows once, in the loader's order and batches.

        Raises:
            Stopped: the task is to stop; raised at the next batch.
        """
        return self._counted(self.peek())

    def peek(self) -> Iterator[Batch]:
        """Iterate like `batches`, without progress and stop condition."""
        return self._through(self._batches(), np.random.default_rng(0))

    def steps(self, params: TrainingParams) -> Iterator[Batch]:
        """Iterate over the batches of all epochs, each epoch shuffled by the seed of `params`.

        An epoch ends after `steps_per_epoch` batches or with the data. Only its last batch may be
        shorter than `batch_size`. A last batch of one row is joined to the batch before it, since
        batch normalization needs a variance.

        Raises:
            Stopped: the task is to stop; raised at the next batch.
        """
        return (batch for epoch in self.epochs(params) for batch in epoch)

    def epochs(self, params: TrainingParams) -> Iterator[Iterator[Batch]]:
        """Iterate like `steps`, by epoch; finish each epoch before the next one."""
        self._planned = self._rows_in_epoch(params) * params.epochs
        return (self._stepped(self._epoch(params, epoch)) for epoch in range(params.epochs))

    def steps_in_epoch(self, params: TrainingParams) -> int:
        """Return the number of batches of one epoch."""
        whole = self._batches_of(params.batch_size)
        return min(whole, params.steps_per_epoch or whole)

    def passes(self, count: int) -> Iterator[Iterator[Batch]]:
        """Iterate `count` times over all rows, each pass a step; finish each one before the next.

        Rows are as the loader returns them: `transform` is for those that the caller takes.

        Raises:
            Stopped: the task is to stop; raised at the next batch.
        """
        self._planned = self.examples * count
        return (self._pass() for _ in range(count))

    def _pass(self) -> Iterator[Batch]:
        self._on_step()
        yield from self._counted(self._batches())

    def _rows_in_epoch(self, params: TrainingParams) -> int:
        steps = self.steps_in_epoch(params)
        whole = steps == self._batches_of(params.batch_size)
        return self.examples if whole else steps * params.batch_size

    def _batches_of(self, size: int) -> int:
        return -(-self.examples // size) - joins_last_row(self.examples, size)

    def _epoch(self, params: TrainingParams, epoch: int) -> Iterator[Batch]:
        rng = np.random.default_rng((params.seed, epoch))
        size = params.batch_size
        batches = _joined(shuffled(self._batches(), size, rng), size)
        # A second generator, so that augmentations do not change the order of the rows.
        transform_rng = np.random.default_rng((params.seed, epoch, 1))
        return self._through(islice(batches, params.steps_per_epoch), transform_rng)

    def _through(self, batches: Iterable[Batch], rng: "np.random.Generator") -> Iterator[Batch]:
        transform = self.transform
        return iter(batches) if transform is None else (transform(batch, rng) for batch in batches)

    def _stepped(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in self._counted(batches):
            self._on_step()
            yield batch

    def _counted(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for x, y in batches:
            self.check_stop()
            yield x, y
            self._seen += len(x)


def joins_last_row(examples: int, size: int) -> bool:
    """Return whether batches of `size` rows leave one row, which is joined to the last batch."""
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
    rng: "np.random.Generator",
    within: int = SHUFFLE_BUFFER_BYTES,
) -> Iterator[Batch]:
    """Shuffle rows in a buffer of `within` bytes of inputs, and yield batches of `size` rows."""
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


def _cut(held: list[Batch], size: int, rng: "np.random.Generator") -> Iterator[Batch]:
    x = np.concatenate([x for x, _ in held])
    y = np.concatenate([y for _, y in held])
    order = rng.permutation(len(x))
    for start in range(0, len(x), size):
        chosen = order[start : start + size]
        yield x[chosen], y[chosen]


def from_arrays(x: Array, y: Array, batch: int = 32, info: DatasetInfo = NO_INFO) -> Dataset:
    """Make a data set from two arrays in memory: x, shape (rows, …), and y, shape (rows, …).

    Raises:
        TrainingError: the numbers of rows differ, or are 0.
    """
    if not x.shape or x.shape[:1] != y.shape[:1] or not len(x):
        raise TrainingError(
            f"x is {x.shape} and y is {y.shape}: expected one row of each per example"
        )
    starts = range(0, len(x), batch)
    cut = lambda: ((x[i : i + batch], y[i : i + batch]) for i in starts)  # noqa: E731 - one pass over the rows
    return Dataset(len(x), cut, info=info)
