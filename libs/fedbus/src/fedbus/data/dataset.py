"""The data an agent trains on, in batches that are counted and can be stopped."""

import zipfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile

from fedbus.errors import Stopped, TrainingError
from fedbus.layout import Array
from fedbus.training import Params

Batch = tuple[Array, Array]
"""Inputs (rows, …) and truths (rows, …)."""

SHUFFLED_BYTES = 8 * 2**20
"""Rows are shuffled within so many bytes of inputs: a large data set is never held twice."""


_IMAGES = 4


def _never() -> bool:
    return False


class Dataset:
    """Rows in batches; whoever walks them can be watched and stopped.

    Args:
        examples: How many rows there are: the weight of an update.
        batches: Makes a new pass over all rows; the sizes of the batches are the loader's choice.
        stop: Says whether to stop; asked before each batch, from the thread that trains.
    """

    def __init__(
        self,
        examples: int,
        batches: Callable[[], Iterable[Batch]],
        stop: Callable[[], bool] = _never,
    ) -> None:
        self.examples = examples
        self._batches = batches
        self._stop = stop
        self._seen = 0
        self._planned = examples

    def watched(self, stop: Callable[[], bool]) -> "Dataset":
        """Give the same rows to one task: with a count of its own and a way to stop it."""
        return Dataset(self.examples, self._batches, stop)

    @property
    def progress(self) -> float:
        """How much of the walk is done, 0 to 1 across all epochs; any thread may ask."""
        return min(1.0, self._seen / self._planned) if self._planned else 0.0

    def batches(self) -> Iterator[Batch]:
        """Walk all rows once, in the loader's order and batches.

        Raises:
            Stopped: at the next batch after the task was asked to stop.
        """
        return self._counted(self._batches())

    def peek(self) -> Iterator[Batch]:
        """Walk like `batches`, but neither counted nor stopped."""
        return iter(self._batches())

    def steps(self, params: Params) -> Iterator[Batch]:
        """Walk what `params` asks for: every epoch shuffled by its seed, cut into its batches.

        An epoch ends after `steps_per_epoch` batches or with the data. Only its last batch may be
        shorter than `batch_size`.

        Raises:
            Stopped: at the next batch after the task was asked to stop.
        """
        limit = params.steps_per_epoch
        rows = min(self.examples, limit * params.batch_size) if limit else self.examples
        self._planned = rows * params.epochs
        return self._counted(
            batch
            for epoch in range(params.epochs)
            for batch in islice(
                shuffled(
                    self._batches(),
                    params.batch_size,
                    np.random.default_rng((params.seed, epoch)),
                ),
                limit,
            )
        )

    def _counted(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for x, y in batches:
            if self._stop():
                raise Stopped("asked to stop between two batches")
            yield x, y
            self._seen += len(x)


def shuffled(
    batches: Iterable[Batch], size: int, rng: np.random.Generator, within: int = SHUFFLED_BYTES
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


def of(x: Array, y: Array, batch: int = 32) -> Dataset:
    """Make a data set of two arrays held in memory; x: (rows, …), y: (rows, …).

    Raises:
        TrainingError: they have not the same number of rows, or none.
    """
    if not x.shape or x.shape[:1] != y.shape[:1] or not len(x):
        raise TrainingError(f"x is {x.shape} and y is {y.shape}: one row of each per example")
    starts = range(0, len(x), batch)
    return Dataset(len(x), lambda: ((x[i : i + batch], y[i : i + batch]) for i in starts))


def npz(path: str, batch: int = 32) -> Dataset:
    """Load a shard: an .npz file with `x`, shape (rows, …), and `y`, shape (rows,) or (rows, …).

    Inputs become float32. Whole numbers in `y` are classes and become int64, others float32.

    Raises:
        TrainingError: the file is missing or no shard, or x and y are not what was said above.
    """
    try:
        x, y = _read(path)
        return of(_numbers("x", x, whole=np.float32), _numbers("y", y, whole=np.int64), batch)
    except TrainingError as error:
        raise TrainingError(f"{path}: {error}") from error


def describe(data: Dataset | str) -> dict[str, Any]:
    """Say what one row looks like, as aerOS writes it: `{"x": {"data_types": {…}}, "y": …}`.

    Reads the first batch only. Four dimensions are images (rows, height, width, channels), whole
    numbers in y are categories, everything else is numerical.

    Raises:
        TrainingError: there is no batch; or, given the path of a shard, see `npz`.
    """
    dataset = npz(data) if isinstance(data, str) else data
    first = next(dataset.peek(), None)
    if first is None:
        raise TrainingError("a data set without a single row")
    x, y = first
    images = x.ndim == _IMAGES
    return {
        "x": {"data_types": {"image" if images else "numerical": _row(x)}},
        "y": {"data_types": {"categorical" if y.dtype.kind in "iu" else "numerical": _row(y)}},
    }


def _row(rows: Array) -> dict[str, Any]:
    floats = rows.dtype.kind == "f"
    return {
        "size": list(rows.shape[1:]) or [1],
        "normalized": bool(floats and rows.size and np.abs(rows).max() <= 1),
    }


def _numbers(name: str, rows: Array, whole: type[np.generic]) -> Array:
    kind = rows.dtype.kind
    if kind not in "iuf":
        raise TrainingError(f"{name} is {rows.dtype}, not numbers")
    return np.asarray(rows, np.float32 if kind == "f" else whole, order="C")


def _read(path: str) -> Batch:
    try:
        # Opened here, since np.load forgets to close a torn file.
        with Path(path).open("rb") as file:
            shard = np.load(file, allow_pickle=False)
            if not isinstance(shard, NpzFile):
                raise TrainingError("not a shard: one bare array")
            with shard:
                return shard["x"], shard["y"]
    except KeyError as error:
        raise TrainingError("a shard has two arrays, x and y") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise TrainingError(f"not a shard: {error}") from error
