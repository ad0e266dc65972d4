"""`memmap` loader: a folder of NumPy arrays of any size.

Rows are read, not mapped: truncating a mapped file kills the process (SIGBUS).
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fedbus.data.arrays import (
    cached_if_small,
    check_batch_size,
    check_class_ids,
    check_row,
    inputs,
    targets,
)
from fedbus.data.categories import check_names
from fedbus.data.dataset import Batch, Dataset
from fedbus.data.description import DatasetInfo
from fedbus.data.format import DTYPES
from fedbus.data.loaders.npy import Header, read_header, read_rows
from fedbus.data.open_file import OpenFile
from fedbus.errors import TrainingError
from fedbus.model.layout import Array
from fedbus.text import listed

Raw = Mapping[str, Any]


def memmap(
    path: str,
    batch: int = 256,
    x: Raw | None = None,
    y: Raw | None = None,
    *,
    classes: Sequence[str] | None = None,
) -> Dataset:
    """Load a folder with `x.npy` and `y.npy`, or with bare memory maps `x.dat` and `y.dat`.

    Args:
        path: The folder.
        batch: Rows read at once.
        x: Arguments of `numpy.memmap` for x.dat: `{"dtype": "uint8", "shape": [28, 28, 1]}`, the
            shape being that of a row.
        y: Arguments for y.dat; `"shape": []` for a bare number.
        classes: The names of the classes, in the order of their numbers in y.

    Raises:
        TrainingError: a file is missing or torn, or x and y have not the same number of rows.
    """
    check_batch_size(batch)
    names = () if classes is None else check_names("classes", classes)
    folder = Path(path)
    inputs_file, truths_file = _Rows(folder, "x", x), _Rows(folder, "y", y)
    rows, others = inputs_file.header.rows, truths_file.header.rows
    if not rows and not others:
        raise TrainingError(f"{path}: the data set has no rows")
    if rows != others:
        raise TrainingError(f"{path}: {rows} rows of x and {others} of y: one of each per example")

    def batches() -> Iterator[Batch]:
        with inputs_file.open() as x_file, truths_file.open() as y_file:
            for first in range(0, rows, batch):
                count = min(batch, rows - first)
                yield (
                    inputs(*inputs_file.read(x_file, count, first), first),
                    _named(*truths_file.read(y_file, count, first), first, names),
                )

    return cached_if_small(Dataset(rows, batches, info=DatasetInfo(classes=names)), batch)


def _named(name: str, rows: Array, first: int, classes: Sequence[str]) -> Array:
    return check_class_ids(name, targets(name, rows, first), classes, first)


class _Rows:
    """An array on disk."""

    def __init__(self, folder: Path, name: str, raw: Raw | None) -> None:
        self._file = OpenFile(folder / f"{name}.{'npy' if raw is None else 'dat'}")
        self.name = str(self._file.path)
        if raw is not None:
            self.header, self._begin = _stated(name, self._file, raw), 0
            return
        with self._file.open() as file:
            self.header = read_header(self.name, file)
            self._begin = file.tell()
        if self.header.by_column:
            raise TrainingError(
                f"{self.name} lies column by column; write it with numpy.ascontiguousarray"
            )
        if self._begin + self.header.size > self._file.size:
            due, has = self._begin + self.header.size, self._file.size
            raise TrainingError(f"{self.name}: {has} bytes where its head promises {due}")

    def open(self) -> BinaryIO:
        file = self._file.open()
        file.seek(self._begin)
        return file

    def read(self, file: BinaryIO, count: int, first: int) -> tuple[str, Any]:
        return self.name, read_rows(self.name, file, self.header, count, first)


def _stated(name: str, file: OpenFile, raw: Raw) -> Header:
    if not isinstance(raw, Mapping) or raw.keys() != {"dtype", "shape"}:
        raise TrainingError(f"{name} is {raw!r}: expected an object with dtype and shape")
    shape = raw["shape"]
    if not isinstance(shape, list) or not all(type(n) is int and n > 0 for n in shape):
        raise TrainingError(f"{name}.shape is {shape!r}: expected a list of whole numbers")
    if raw["dtype"] not in DTYPES:
        raise TrainingError(f"{name}.dtype is {raw['dtype']!r}: expected {listed(DTYPES)}")
    dtype = np.dtype(raw["dtype"])
    size = check_row(name, shape, dtype)
    rows, rest = divmod(file.size, size)
    if rest:
        raise TrainingError(f"{file.path}: {file.size} bytes are no whole rows of {size} each")
    return Header(rows, tuple(shape), dtype)
