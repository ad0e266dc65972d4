"""`csv`: rows of numbers in a text file; every fault is named by its line and its column."""

import csv as table
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbus.data.columns import Target, choose
from fedbus.data.dataset import Batch, Dataset
from fedbus.data.pinned import Pinned
from fedbus.data.rows import check_batch_size, class_of, kept, numbered
from fedbus.errors import TrainingError

Row = tuple[int, list[str]]
"""A line's number, the first being 1, and its cells."""


def csv(  # noqa: PLR0913 - each is one thing that differs between files; all but the path have defaults
    path: str,
    batch: int = 256,
    *,
    label: str | int | None = None,
    features: Sequence[str | int] | None = None,
    header: bool = True,
    delimiter: str = ",",
    target: Target = "auto",
    classes: Sequence[str] | None = None,
) -> Dataset:
    """Load a text file of numbers with a line for each row.

    Args:
        path: The file, UTF-8.
        batch: Rows read at once.
        label: The column of y, by its name or its number (from 0); the last one by default.
        features: The columns of x, in this order; all others by default.
        header: Whether the first line names the columns.
        delimiter: What stands between two cells.
        target: What y is: a `class`, a whole number; a `number`; `auto` looks at the first rows.
        classes: The words that y holds, if it holds words; a word's place here is its class.

    Raises:
        TrainingError: names the line and the column.
    """
    check_batch_size(batch)
    if not isinstance(delimiter, str) or len(delimiter) != 1:
        raise TrainingError(f"delimiter is {delimiter!r}; one character belongs there")
    sheet = _Sheet(Pinned(Path(path)), header, delimiter)
    chosen = choose(path, sheet.names, label, features)
    count = sheet.count()
    if not count:
        raise TrainingError(f"{path}: the columns' names, and not a single row")
    known = numbered(classes) if classes is not None else None
    reader = _Reader(sheet, *chosen, known, target)
    whole = known is not None or reader.is_whole(batch)

    def batches() -> Iterator[Batch]:
        with sheet.rows() as rows:
            while some := list(islice(rows, batch)):
                yield reader.batch(some, whole=whole)

    return kept(Dataset(count, batches), batch)


class _Sheet:
    """The lines of a file."""

    def __init__(self, file: Pinned, header: bool, delimiter: str) -> None:  # noqa: FBT001 - as its setting has it
        self.file = file
        self._header = header
        self._delimiter = delimiter
        with self._lines() as lines:
            first = next(lines, None)
        if first is None:
            raise TrainingError(f"{file.path}: not a single line")
        cells = [cell.strip() for cell in first[1]]
        if header and all(_number(cell) is not None for cell in cells):
            raise TrainingError(
                f"{file.path}, line 1: the columns' names belong there, and all cells are numbers; "
                'set "header": false if no line names them'
            )
        if header and len(set(cells)) != len(cells):
            twice = sorted({cell for cell in cells if cells.count(cell) > 1})
            raise TrainingError(f"{file.path}, line 1: columns named twice: {', '.join(twice)}")
        self.names = cells if header else [str(number) for number in range(len(cells))]

    def count(self) -> int:
        with self.rows() as rows:
            return sum(1 for _ in rows)

    @contextmanager
    def rows(self) -> Iterator[Iterator[Row]]:
        with self._lines() as lines:
            yield islice(lines, 1, None) if self._header else lines

    @contextmanager
    def _lines(self) -> Iterator[Iterator[Row]]:
        # newline="" lets the csv module see line ends inside quotes.
        with io.TextIOWrapper(self.file.open(), encoding="utf-8-sig", newline="") as text:
            yield self._walk(table.reader(text, delimiter=self._delimiter, strict=True))

    def _walk(self, reader: Any) -> Iterator[Row]:  # noqa: ANN401 - the csv module names no type
        try:
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
        except table.Error as error:
            raise TrainingError(f"{self.file.path}, line {reader.line_num}: {error}") from error
        except UnicodeDecodeError as error:
            where = f"{self.file.path}, near line {reader.line_num + 1}"
            raise TrainingError(f"{where}: not UTF-8: {error.reason}") from error


@dataclass(frozen=True, slots=True)
class _Reader:
    """Turns lines into numbers."""

    sheet: _Sheet
    label: int
    features: tuple[int, ...]
    classes: Mapping[str, int] | None
    target: Target

    def is_whole(self, batch: int) -> bool:
        if self.target != "auto":
            return self.target == "class"
        with self.sheet.rows() as rows:
            truths = [self._truth(row) for row in islice(rows, batch)]
        return all(truth == math.floor(truth) for truth in truths)

    def batch(self, rows: Sequence[Row], *, whole: bool) -> Batch:
        x = self._inputs(rows)
        y = np.array([self._truth(row) for row in rows])
        if not whole:
            return x, y.astype(np.float32)
        if self.target == "class" and (y < 0).any():
            line, cells = rows[int(np.argmax(y < 0))]
            where = self._where(line, self.label)
            raise TrainingError(f"{where}: {cells[self.label]!r} is no class: it is 0 or more")
        if (broken := y != np.floor(y)).any():
            line, cells = rows[int(np.argmax(broken))]
            raise TrainingError(
                f"{self._where(line, self.label)}: {cells[self.label]!r} is no class, a whole "
                'number; set "target": "number" if y is a quantity'
            )
        return x, y.astype(np.int64)

    def _inputs(self, rows: Sequence[Row]) -> NDArray[np.float32]:
        width = len(self.sheet.names)
        if all(len(cells) == width for _, cells in rows):
            try:
                table = np.array([[cells[c] for c in self.features] for _, cells in rows], float)
                x = _single(table)
            except ValueError:
                x = None
            if x is not None:
                return x
        return np.array(
            [[self._cell(row, column) for column in self.features] for row in rows], np.float32
        )

    def _truth(self, row: Row) -> float:
        if self.classes is None:
            return self._cell(row, self.label)
        self._check_width(row)
        line, cells = row
        return class_of(cells[self.label].strip(), self.classes, self._where(line, self.label))

    def _cell(self, row: Row, column: int) -> float:
        self._check_width(row)
        line, cells = row
        value = _number(cells[column])
        if value is not None:
            return value
        said = repr(cells[column]) if cells[column].strip() else "nothing"
        hint = ""
        if column == self.label and cells[column].strip():
            hint = '; name the words in "classes" if y holds words'
        raise TrainingError(
            f"{self._where(line, column)}: {said} where a finite number belongs{hint}"
        )

    def _check_width(self, row: Row) -> None:
        line, cells = row
        if len(cells) != len(self.sheet.names):
            raise TrainingError(
                f"{self.sheet.file.path}, line {line}: {len(cells)} cells; there are "
                f"{len(self.sheet.names)} columns"
            )

    def _where(self, line: int, column: int) -> str:
        return f"{self.sheet.file.path}, line {line}, column {self.sheet.names[column]!r}"


def _number(text: str) -> float | None:
    """Read a number that float32 can hold."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) <= float(np.finfo(np.float32).max) else None


def _single(table: NDArray[np.float64]) -> NDArray[np.float32] | None:
    """Make them float32, if all are finite then."""
    with np.errstate(over="ignore"):
        made = table.astype(np.float32)
    return made if np.isfinite(made).all() else None
