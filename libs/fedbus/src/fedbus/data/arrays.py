"""Arrays of loaders: dtypes of x and y, checks that name the place, small data in memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedbus.data.categories import check_names
from fedbus.data.dataset import Dataset, from_arrays
from fedbus.data.description import DatasetInfo
from fedbus.errors import TrainingError
from fedbus.model.layout import Array
from fedbus.text import in_given_order

KEPT_BYTES: Final = 16 * 2**20
"""A data set up to this size is read once into memory; a larger one is read in every epoch."""

_MAX_CLASS: Final = 2**63 - 1
MAX_ROW_BYTES: Final = 256 * 2**20
"""Maximum size of a row, which is read at once."""


def inputs(name: str, rows: Array, first: int = 0) -> NDArray[np.float32]:
    """Convert inputs to float32; raise TrainingError, with the place, for NaN or no numbers."""
    if rows.dtype.kind not in "biuf":
        raise TrainingError(f"{name} is {rows.dtype}, not numbers")
    with np.errstate(over="ignore"):  # found below, with its place
        made = np.asarray(rows, np.float32, order="C")
    check_finite(name, made, first)
    return made


def targets(name: str, rows: Array, first: int = 0) -> Array:
    """Convert targets: integers (classes) to int64, others to float32; raises as `inputs` does."""
    if rows.dtype.kind in "biu":
        if rows.dtype == np.uint64 and rows.size and rows.max() > _MAX_CLASS:
            raise TrainingError(f"{name} holds {rows.max()}, more than int64 can")
        return np.asarray(rows, np.int64, order="C")
    return inputs(name, rows, first)


def check_class_ids(name: str, rows: Array, classes: Sequence[str], first: int = 0) -> Array:
    """Raise TrainingError for the first class number without a name; without names, for none."""
    if classes and (rows.ndim > 1 or rows.dtype.kind not in "iu"):
        raise TrainingError(f"{name} is {rows.dtype} {rows.shape}; classes have names, so class "
                            "numbers belong there")  # fmt: skip
    if classes and (wrong := (rows < 0) | (rows >= len(classes))).any():
        place = int(np.argmax(wrong))
        raise TrainingError(
            f"{name}[{first + place}] is {rows[place]}; there are names of {len(classes)} classes, "
            f"0 to {len(classes) - 1}"
        )
    return rows


def check_finite(name: str, rows: Array, first: int = 0) -> None:
    """Raise TrainingError for the first NaN or infinity: `x[7, 3]`, counted from 0."""
    # A sum reads every number without more memory; only an overflow needs the second check.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(rows.sum()):
            return
    good = np.isfinite(rows)
    if not good.all():
        row, *place = (int(n) for n in np.argwhere(~good)[0])
        index = ", ".join(map(str, (first + row, *place)))
        raise TrainingError(f"{name}[{index}] is {rows[row, *place]}, not a finite number")


def cached_if_small(data: Dataset, batch: int) -> Dataset:
    """Read a small data set into memory, which checks all of it; return a large one as it is.

    Raises:
        TrainingError: the loader finds a fault, or there are no rows.
    """
    first = next(data.peek(), None)
    if first is None:
        raise TrainingError("the data set has no rows")
    x, y = first
    if (x.nbytes + y.nbytes) / len(x) * data.examples > KEPT_BYTES:
        return data
    parts = list(data.peek())
    x, y = (np.concatenate(rows) for rows in zip(*parts, strict=True))
    return from_arrays(
        x, y, batch, replace(data.info, notes=(*data.info.notes, *_notes(y, data.info)))
    )


def _notes(y: Array, info: DatasetInfo) -> Iterator[str]:
    """Yield a note if class numbers seem to start at 1; frameworks count from 0."""
    if info.classes or y.ndim != 1 or y.dtype.kind not in "iu" or y.min() != 1:
        return
    highest = int(y.max())
    if 1 < highest <= _MAX_CLASSES and len(np.unique(y)) == highest:
        yield (
            f'y holds 1 to {highest}; if these are classes, the transform "class-ids" with '
            f'"first": 1 makes them 0 to {highest - 1}'
        )


_MAX_CLASSES: Final = 1000
"""More different numbers are not taken for classes."""


def check_row(name: str, shape: Sequence[int], dtype: np.dtype[Any]) -> int:
    """Return the size of a row in bytes; raise TrainingError if it is empty or too large."""
    size = dtype.itemsize
    for length in shape:
        size *= int(length)
    if not 0 < size <= MAX_ROW_BYTES:
        raise TrainingError(f"a row of {name} has {size} bytes: expected 1 to {MAX_ROW_BYTES}")
    return size


def check_batch_size(batch: int) -> int:
    """Raise TrainingError unless a batch size is a whole number above 0."""
    if type(batch) is not int or batch < 1:
        raise TrainingError(f"batch is {batch!r}: expected a whole number above 0")
    return batch


def index_names(classes: Sequence[str]) -> Mapping[str, int]:
    """Return the number of each class by name; raise TrainingError unless names are different."""
    return {name: number for number, name in enumerate(check_names("classes", classes))}


def class_id_of(text: str, places: Mapping[str, int]) -> int | None:
    """Read a class number, if no class name contains digits; None: not a class number."""
    known = text.isascii() and text.isdigit() and not any(map(str.isdigit, places))
    return int(text) if known and int(text) < len(places) else None


def index_of(text: str, places: Mapping[str, int], where: str, what: str = "class") -> int:
    """Return the number of a class or another word; raise TrainingError if it is unknown."""
    if text not in places:
        if what == "class" and (number := class_id_of(text, places)) is not None:
            return number
        many = "classes" if what == "class" else f"{what}s"
        raise TrainingError(f"{where}: no {what} {text!r}; the {many} are {in_given_order(places)}")
    return places[text]
