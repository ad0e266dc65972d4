"""Numbers as every loader hands them out, and the place of those that are none."""

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
"""A data set up to this size is read once and kept in memory; a larger one stays on its disk."""

_MAX_CLASS: Final = 2**63 - 1
MAX_ROW_BYTES: Final = 256 * 2**20
"""No single row is larger: it would be read in one piece."""


def inputs(name: str, rows: Array, first: int = 0) -> NDArray[np.float32]:
    """Make inputs float32; `first` is the number of the first row, for errors.

    Raises:
        TrainingError: they are no numbers, or one of them is not finite; says where.
    """
    if rows.dtype.kind not in "biuf":
        raise TrainingError(f"{name} is {rows.dtype}, not numbers")
    with np.errstate(over="ignore"):  # found below, with its place
        made = np.asarray(rows, np.float32, order="C")
    check_finite(name, made, first)
    return made


def targets(name: str, rows: Array, first: int = 0) -> Array:
    """Make truths int64 where they are whole numbers, classes; float32 otherwise.

    Raises:
        TrainingError: as for `inputs`.
    """
    if rows.dtype.kind in "biu":
        if rows.dtype == np.uint64 and rows.size and rows.max() > _MAX_CLASS:
            raise TrainingError(f"{name} holds {rows.max()}, more than int64 can")
        return np.asarray(rows, np.int64, order="C")
    return inputs(name, rows, first)


def check_class_ids(name: str, rows: Array, classes: Sequence[str], first: int = 0) -> Array:
    """Refuse class numbers that have no name; without names, any will do.

    Raises:
        TrainingError: names the first of them.
    """
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
    """Refuse nan and infinity.

    Raises:
        TrainingError: names the first of them, `x[7, 3]`, counted from 0.
    """
    # A sum meets every number and takes no memory; only one that overflowed needs a second look.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(rows.sum()):
            return
    good = np.isfinite(rows)
    if not good.all():
        row, *place = (int(n) for n in np.argwhere(~good)[0])
        index = ", ".join(map(str, (first + row, *place)))
        raise TrainingError(f"{name}[{index}] is {rows[row, *place]}, not a finite number")


def kept(data: Dataset, batch: int) -> Dataset:
    """Read a small data set into memory, and with it find all its faults; leave a large one.

    Raises:
        TrainingError: what the loader finds on its way, or no row at all.
    """
    first = next(data.peek(), None)
    if first is None:
        raise TrainingError("a data set without a single row")
    x, y = first
    if (x.nbytes + y.nbytes) / len(x) * data.examples > KEPT_BYTES:
        return data
    parts = list(data.peek())
    x, y = (np.concatenate(rows) for rows in zip(*parts, strict=True))
    return from_arrays(
        x, y, batch, replace(data.info, notes=(*data.info.notes, *_notes(y, data.info)))
    )


def _notes(y: Array, info: DatasetInfo) -> Iterator[str]:
    """Say where class numbers seem to begin at 1: no framework counts so."""
    if info.classes or y.ndim != 1 or y.dtype.kind not in "iu" or y.min() != 1:
        return
    highest = int(y.max())
    if 1 < highest <= _MANY and len(np.unique(y)) == highest:
        yield (
            f'y holds 1 to {highest}; if these are classes, the transform "class-ids" with '
            f'"first": 1 makes them 0 to {highest - 1}'
        )


_MANY: Final = 1000
"""More different numbers are no classes."""


def check_row(name: str, shape: Sequence[int], dtype: np.dtype[Any]) -> int:
    """Measure a row before one is read; returns its bytes.

    Raises:
        TrainingError: it is too large for one piece, or nothing at all.
    """
    size = dtype.itemsize
    for length in shape:
        size *= int(length)
    if not 0 < size <= MAX_ROW_BYTES:
        raise TrainingError(f"a row of {name} has {size} bytes; 1 to {MAX_ROW_BYTES} are taken")
    return size


def check_batch_size(batch: int) -> int:
    """Refuse a batch of no rows.

    Raises:
        TrainingError: it is no whole number above 0.
    """
    if type(batch) is not int or batch < 1:
        raise TrainingError(f"batch is {batch!r}; a whole number above 0 belongs there")
    return batch


def index_names(classes: Sequence[str]) -> Mapping[str, int]:
    """Number classes by their names.

    Raises:
        TrainingError: the names are no list of different words.
    """
    return {name: number for number, name in enumerate(check_names("classes", classes))}


def class_id_of(text: str, places: Mapping[str, int]) -> int | None:
    """Read a class number where classes have names that are no numbers; None: it is none."""
    known = text.isascii() and text.isdigit() and not any(map(str.isdigit, places))
    return int(text) if known and int(text) < len(places) else None


def index_of(text: str, places: Mapping[str, int], where: str, what: str = "class") -> int:
    """Find the number of a class, or of another word.

    Raises:
        TrainingError: there is none of that name.
    """
    if text not in places:
        if what == "class" and (number := class_id_of(text, places)) is not None:
            return number
        many = "classes" if what == "class" else f"{what}s"
        raise TrainingError(f"{where}: no {what} {text!r}; the {many} are {in_given_order(places)}")
    return places[text]
