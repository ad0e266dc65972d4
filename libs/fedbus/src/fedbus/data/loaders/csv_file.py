"""`csv` loader: rows of numbers and words in a text file; errors name the line and column."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedbus.data.arrays import cached_if_small, check_batch_size, index_names, index_of
from fedbus.data.categories import AUTO, Words, check_words
from fedbus.data.cells import Cells, Missing, check_missing, is_missing
from fedbus.data.columns import Target, check_target, choose, index_columns, left_out_note
from fedbus.data.dataset import Batch, Dataset
from fedbus.data.description import DatasetInfo
from fedbus.data.loaders.csv_columns import CsvColumns
from fedbus.data.loaders.csv_rows import CsvTable, Row
from fedbus.data.loaders.csv_survey import survey
from fedbus.data.open_file import OpenFile
from fedbus.errors import TrainingError
from fedbus.model.layout import Array


def csv(  # noqa: PLR0913 - options of a file format, with defaults
    path: str,
    batch: int = 256,
    *,
    label: str | int | None = None,
    features: Sequence[str | int] | None = None,
    header: bool | None = None,
    delimiter: str | None = None,
    decimal: str = ".",
    encoding: str = "utf-8",
    target: Target = "auto",
    classes: Sequence[str] | None = None,
    words: Words = None,
    missing: Missing = None,
) -> Dataset:
    """Load a text file with a line for each row.

    Args:
        path: The file.
        batch: Rows read at once.
        label: The column of y, by its name or its number (from 0); the last one by default.
        features: The columns of x, in this order; all others by default, without columns that have
            no name or one that pandas gives to a row index.
        header: Whether line 1 names the columns; by default it does, and is refused where it holds
            a number.
        delimiter: What stands between two cells; by default a comma, a semicolon, a tab or a bar,
            whichever cuts all lines into as many cells.
        decimal: What stands before fractions, "." or ",".
        encoding: Of the text; a byte-order mark is skipped.
        target: What y is: a `class`, a whole number; a `number`; `auto` looks at the first rows.
        classes: The words that y holds; a word's place here is its class, and y may hold that
            number too. By default the words that are there, sorted.
        words: The columns of x that hold words, as {"colour": ["blue", "red"]}: one input for each
            word, 1 where it stands there. "auto" takes the words that are there, sorted.
        missing: What becomes of a row with an empty cell, or "NA", "NaN", "null", "?" and the like:
            "drop" leaves the row out, "mean" takes the column's mean, a number stands in its
            place; by default it is refused.

    Raises:
        TrainingError: names the line and the column.
    """
    check_batch_size(batch)
    check_target(target)
    if delimiter is not None and (not isinstance(delimiter, str) or len(delimiter) != 1):
        raise TrainingError(f"delimiter is {delimiter!r}: expected one character")
    cells = Cells(decimal)
    sheet = CsvTable(OpenFile(Path(path)), header, delimiter, encoding, cells, label)
    gone = index_columns(sheet.names) if sheet.named else ()
    y, x = choose(path, sheet.names, label, features, gone)
    if decimal == "," == sheet.delimiter:
        raise TrainingError(f'{path}: "decimal" and "delimiter" are both ","')
    wanted = CsvColumns(
        sheet=sheet,
        cells=cells,
        label=y,
        features=x,
        classes=None if classes is None else tuple(index_names(classes)),
        words={c: w for c, w in check_words(words, sheet.names).items() if c in x},
        guessed=words == AUTO,
        missing=check_missing(missing),
        target=target,
    )
    found = survey(wanted, batch)
    if not found.rows:
        left = ", none without a missing value" if found.dropped else ""
        raise TrainingError(f"{path}: the file has no rows{left}")
    reader = _Reader.of(found.columns)
    whole = found.columns.classes is not None or reader.is_whole(batch)

    def batches() -> Iterator[Batch]:
        with sheet.rows() as rows:
            while some := list(islice(rows, batch)):
                made = reader.batch(some, whole=whole)
                if len(made[1]):
                    yield made

    notes = (*left_out_note(sheet.names, gone, (y, *x)), *found.notes())
    info = DatasetInfo(
        classes=found.columns.classes or (),
        columns=found.columns.inputs() if sheet.named or found.columns.words else (),
        missing={sheet.names[column]: count for column, count in found.missing.items()},
        notes=notes,
    )
    return cached_if_small(Dataset(found.rows, batches, info=info), batch)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Converts rows to numbers, by surveyed columns."""

    columns: CsvColumns
    classes: Mapping[str, int] | None
    places: Mapping[int, Mapping[str, int]]
    """Position of each word, by column of words."""

    @classmethod
    def of(cls, columns: CsvColumns) -> "_Reader":
        places = {column: index_names(words or ()) for column, words in columns.words.items()}
        return cls(
            columns, None if columns.classes is None else index_names(columns.classes), places
        )

    def is_whole(self, batch: int) -> bool:
        if self.columns.target != "auto":
            return self.columns.target == "class"
        with self.columns.sheet.rows() as rows:
            some = [row for row in islice(rows, batch) if not self._drops(row)]
        targets = [self._target(row) for row in some]
        return all(target == int(target) for target in targets)

    def batch(self, rows: Sequence[Row], *, whole: bool) -> Batch:
        x = self.columns.read_plain_numbers(rows)
        if x is None:
            rows = [row for row in rows if not self._drops(row)]
            flat = [value for row in rows for value in self._inputs(row)]
            x = np.array(flat, np.float32).reshape(len(rows), self.columns.width)
        y = np.array([self._target(row) for row in rows], float)
        if not whole:
            return x, y.astype(np.float32)
        return x, self._classes(rows, y)

    def _classes(self, rows: Sequence[Row], y: NDArray[np.float64]) -> Array:
        label, where = self.columns.label, self.columns.sheet.where
        if self.columns.target == "class" and (y < 0).any():
            line, cells = rows[int(np.argmax(y < 0))]
            raise TrainingError(
                f"{where(line, label)}: {cells[label]!r} is no class: it is 0 or more"
            )
        if (broken := y != np.floor(y)).any():
            line, cells = rows[int(np.argmax(broken))]
            raise TrainingError(
                f"{where(line, label)}: {cells[label]!r} is no class, a whole number; set "
                '"target": "number" if y is a quantity'
            )
        return y.astype(np.int64)

    def _drops(self, row: Row) -> bool:
        return self.columns.missing == "drop" and self.columns.has_gap(row)

    def _inputs(self, row: Row) -> Iterator[float]:
        _, cells = row
        for column in self.columns.features:
            if column not in self.places:
                yield self.columns.value(row, column)
                continue
            words, text = self.places[column], cells[column].strip()
            chosen = [0.0] * len(words)
            if text in words or not is_missing(text) or self.columns.missing is None:
                chosen[index_of(text, words, self.columns.sheet.where(row[0], column), "word")] = (
                    1.0
                )
            yield from chosen

    def _target(self, row: Row) -> float:
        line, cells = row
        column = self.columns.label
        text = cells[column].strip()
        if self.classes is not None and text in self.classes:
            return self.classes[text]
        if self.classes is None and not is_missing(text):
            return self.columns.value(row, column)
        where = self.columns.sheet.where(line, column)
        if is_missing(text):
            raise TrainingError(
                f'{where}: nothing where a class or a finite number belongs; "missing": "drop" '
                "leaves such rows out"
            )
        return index_of(text, self.classes or {}, where)
