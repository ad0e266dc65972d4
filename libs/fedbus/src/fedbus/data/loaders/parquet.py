"""`parquet`: a columnar file, read in pieces with pyarrow (`pip install "fedbus[parquet]"`)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from fedbus.data.columns import Target, choose
from fedbus.data.dataset import Batch, Dataset
from fedbus.data.pinned import BUFFER, Pinned
from fedbus.data.rows import check_batch_size, check_row, class_of, finite, kept, numbered, truths
from fedbus.errors import PluginError, TrainingError
from fedbus.layout import Array

PIECES_BYTES: Final = 16 * 2**20
"""Read ahead of all columns together, if each can have at least its `LEAST_PIECE`."""
LEAST_PIECE: Final = 8 * 2**10


def parquet(  # noqa: PLR0913 - as for csv
    path: str,
    batch: int = 256,
    *,
    label: str | int | None = None,
    features: Sequence[str | int] | None = None,
    target: Target = "auto",
    classes: Sequence[str] | None = None,
) -> Dataset:
    """Load a table of numbers; a column of lists, all of one length, gives many inputs.

    A page of each column is in memory at a time, and the dictionaries of a row group: with what
    pyarrow writes by default up to 2 MB for each column of many different numbers, next to nothing
    with `use_dictionary=False` or small row groups.

    Args:
        path: The file.
        batch: Rows read at once.
        label: The column of y, by its name or its number (from 0); the last one by default.
        features: The columns of x, in this order; all others by default.
        target: What y is: a `class`, a `number`, or, with `auto`, what the column's type says.
        classes: The words that y holds, if it holds words; a word's place here is its class.

    Raises:
        TrainingError: names the row, counted from 0, and the column.
    """
    check_batch_size(batch)
    file = Pinned(Path(path))
    with _opened(file) as found:
        names, rows = list(found.schema_arrow.names), int(found.metadata.num_rows)
    if not rows or not names:
        raise TrainingError(f"{path}: a data set without a single row")
    y, x = choose(path, names, label, features)
    known = numbered(classes) if classes is not None else None
    columns = _Columns(path, names[y], [names[column] for column in x], target, known)

    def batches() -> Iterator[Batch]:
        first = 0
        needed = [columns.label, *columns.features]
        with _opened(file, len(needed)) as found:
            for some in found.iter_batches(batch, columns=needed, use_threads=False):
                yield columns.batch(some, first)
                first += some.num_rows

    return kept(Dataset(rows, batches), batch)


@dataclass(frozen=True, slots=True)
class _Columns:
    path: str
    label: str
    features: list[str]
    target: Target
    classes: Mapping[str, int] | None

    def batch(self, some: Any, first: int) -> Batch:  # noqa: ANN401 - pyarrow has no types
        x = [self._numbers(some.column(name), name, first) for name in self.features]
        flat = [column.reshape(len(column), -1) for column in x]
        check_row("x", [sum(part.shape[1] for part in flat)], np.dtype(np.float32))
        return np.concatenate(flat, axis=1, dtype=np.float32), self._truths(some, first)

    def _truths(self, some: Any, first: int) -> Array:  # noqa: ANN401
        column = some.column(self.label)
        if self.classes is not None:
            self._check_no_gap(column, self.label, first)
            words = column.to_pylist()
            where = f"{self.path}, row %d, column {self.label!r}"
            return np.array(
                [class_of(str(w), self.classes, where % (first + n)) for n, w in enumerate(words)],
                np.int64,
            )
        y = self._numbers(column, self.label, first)
        if self.target == "number":
            return y.astype(np.float32)
        if self.target == "class" and y.dtype.kind == "f":
            if (broken := y != np.floor(y)).any():
                row = int(np.argwhere(broken)[0][0])
                where = self._where(first + row, self.label)
                raise TrainingError(f"{where}: {y[row]} is no class, a whole number")
            y = y.astype(np.int64)
        if self.target == "class" and (y < 0).any():
            row = int(np.argmax(y < 0))
            where = self._where(first + row, self.label)
            raise TrainingError(f"{where}: {y[row]} is no class: it is 0 or more")
        return truths(self.label, y, first)

    def _numbers(self, column: Any, name: str, first: int) -> Array:  # noqa: ANN401
        self._check_no_gap(column, name, first)
        if hasattr(column, "flatten") and hasattr(column.type, "value_type"):
            return self._lists(column, name, first)
        rows: Array = column.to_numpy(zero_copy_only=False)
        if rows.dtype.kind not in "biuf":
            hint = '; name the words in "classes" if y holds words' if name == self.label else ""
            raise TrainingError(
                f"{self.path}, column {name!r}: {column.type} values, not numbers{hint}"
            )
        with np.errstate(over="ignore"):
            made = rows.astype(np.float32) if rows.dtype.kind == "f" else rows
        if made.dtype.kind == "f" and not (good := np.isfinite(made)).all():
            row = int(np.argmin(good))
            where = self._where(first + row, name)
            raise TrainingError(f"{where}: {rows[row]} where a finite number belongs")
        return made

    def _lists(self, column: Any, name: str, first: int) -> Array:  # noqa: ANN401
        lengths = [len(cell) for cell in column]
        if odd := [n for n, length in enumerate(lengths) if length != lengths[0]]:
            raise TrainingError(
                f"{self._where(first + odd[0], name)}: a list of {lengths[odd[0]]}; the others "
                f"have {lengths[0]}"
            )
        values = column.flatten()
        if values.null_count:
            row = first + int(np.argmax(values.is_null().to_numpy(zero_copy_only=False))) // max(
                1, lengths[0]
            )
            raise TrainingError(f"{self._where(row, name)}: nothing where a number belongs")
        rows: Array = values.to_numpy(zero_copy_only=False)
        if rows.dtype.kind not in "biuf":
            raise TrainingError(f"{self.path}, column {name!r}: {column.type}, not numbers")
        made: Array = rows.astype(np.float32).reshape(len(lengths), -1)
        finite(f"{self.path}, column {name!r}: ", made, first)
        return made

    def _check_no_gap(self, column: Any, name: str, first: int) -> None:  # noqa: ANN401
        if column.null_count:
            gaps = column.is_null().to_numpy(zero_copy_only=False)
            where = self._where(first + int(np.argmax(gaps)), name)
            raise TrainingError(f"{where}: nothing where a value belongs")

    def _where(self, row: int, column: str) -> str:
        return f"{self.path}, row {row} (the first is 0), column {column!r}"


@contextmanager
def _opened(file: Pinned, columns: int = 1) -> Iterator[Any]:
    """Open it; a piece of each column is read at a time, where pyarrow would hold all."""
    try:
        import pyarrow.parquet  # noqa: PLC0415 - only where a parquet file is read
    except ImportError as error:
        raise PluginError('parquet files are read by pyarrow; pip install "fedbus[parquet]"') from (
            error
        )
    reader: Any = pyarrow.parquet.ParquetFile  # it has no types
    with file.open() as raw:
        try:
            piece = max(LEAST_PIECE, min(BUFFER, PIECES_BYTES // columns))
            with reader(raw, pre_buffer=False, buffer_size=piece) as found:
                yield found
        except (pyarrow.ArrowException, OSError) as error:
            raise TrainingError(f"{file.path}: not a parquet file: {error}") from error
        finally:
            # It keeps what it once needed, dictionaries above all, while the agent waits for work.
            pyarrow.default_memory_pool().release_unused()
