"""Columns of a Parquet file: conversion of pyarrow's values to numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbus.data.arrays import check_finite, check_row, index_of, targets
from fedbus.data.cells import Missing
from fedbus.data.columns import Target
from fedbus.data.dataset import Batch
from fedbus.errors import TrainingError
from fedbus.model.layout import Array

Rows = NDArray[np.int64]
"""Row numbers in the file, the first being 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetColumns:
    """Columns that are read, and how their values become numbers.

    Attributes:
        classes: Words of y and their numbers; None: y holds numbers; empty: not known yet.
        words: The same for each column of words in x.
        fill: Replacement of a missing number, by column.
    """

    path: str
    label: str
    features: list[str]
    target: Target
    classes: Mapping[str, int] | None
    words: Mapping[str, Mapping[str, int]]
    missing: Missing
    fill: Mapping[str, float] = field(default_factory=dict)

    def inputs(self, schema: Any) -> tuple[str, ...]:  # noqa: ANN401 - pyarrow has no types
        """Return the inputs' names: `column=word` for words; none with a column of lists."""
        if any(hasattr(schema.field(name).type, "value_field") for name in self.features):
            return ()
        return tuple(
            name if word is None else f"{name}={word}"
            for name in self.features
            for word in (self.words.get(name) or (None,))
        )

    def batch(self, some: Any, first: int) -> Batch:  # noqa: ANN401 - pyarrow has no types
        """Convert some rows of the file; `first` is the number of the first one."""
        some, at = self.without_gaps(some, first)
        x = [self._input(some.column(name), name, at) for name in self.features]
        flat = [column.reshape(len(at), -1) if len(at) else column for column in x]
        if not len(at):
            return np.zeros((0, 1), np.float32), np.zeros(0, np.int64)
        check_row("x", [sum(part.shape[1] for part in flat)], np.dtype(np.float32))
        return np.concatenate(flat, axis=1, dtype=np.float32), self._truths(some, at)

    def without_gaps(self, some: Any, first: int) -> tuple[Any, Rows]:  # noqa: ANN401 - pyarrow has no types
        """Drop the rows with a missing value, with `missing="drop"`."""
        at = np.arange(first, first + some.num_rows)
        if self.missing != "drop":
            return some, at
        gap = np.zeros(some.num_rows, bool)
        for name in (self.label, *self.features):
            gap |= gaps_in(some.column(name))
        return some.filter(load_pyarrow().array(~gap)), at[~gap]

    def _input(self, column: Any, name: str, at: Rows) -> Array:  # noqa: ANN401 - pyarrow has no types
        if name not in self.words:
            return self.numbers(column, name, at)
        places = self.words[name]
        made = np.zeros((len(at), len(places)), np.float32)
        for row, word in enumerate(column.to_pylist()):
            if word is not None:
                place = index_of(str(word), places, self.where(int(at[row]), name), "word")
                made[row, place] = 1
            elif self.missing is None:
                self._check_no_gap(column, name, at)
        return made

    def _truths(self, some: Any, at: Rows) -> Array:  # noqa: ANN401 - pyarrow has no types
        column = some.column(self.label)
        self._check_no_gap(column, self.label, at)
        if self.classes is not None:
            words = [str(word) for word in column.to_pylist()]
            places = [
                index_of(word, self.classes, self.where(int(at[n]), self.label))
                for n, word in enumerate(words)
            ]
            return np.array(places, np.int64)
        y = self.numbers(column, self.label, at)
        if self.target == "number":
            return y.astype(np.float32)
        if self.target == "class":
            self._check_classes(y, at)
            y = y.astype(np.int64)
        return targets(self.label, y, int(at[0]))

    def _check_classes(self, y: Array, at: Rows) -> None:
        for wrong, why in ((y != np.floor(y), "a whole number"), (y < 0, "it is 0 or more")):
            if wrong.any():
                row = int(np.argwhere(wrong)[0][0])
                where = self.where(int(at[row]), self.label)
                sign = ":" if why.startswith("it") else ","
                raise TrainingError(f"{where}: {y[row]} is no class{sign} {why}")

    def numbers(self, column: Any, name: str, at: Rows) -> Array:  # noqa: ANN401 - pyarrow has no types
        """Read a column of numbers, or of lists of them.

        Raises:
            TrainingError: names the row and the column.
        """
        arrow = load_pyarrow()
        if arrow.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if arrow.types.is_decimal(column.type):
            column = column.cast(arrow.float64())
        if name in self.fill:
            if arrow.types.is_floating(column.type):
                column = column.cast(arrow.float64())
            given = column.to_numpy(zero_copy_only=False).astype(np.float64)
            rows = np.where(gaps_in(column), self.fill[name], given)
        else:
            self._check_no_gap(column, name, at)
            if hasattr(column.type, "value_field"):
                return self._lists(column, name, at)
            rows = column.to_numpy(zero_copy_only=False)
        with np.errstate(over="ignore"):
            made: Array = rows.astype(np.float32) if rows.dtype.kind == "f" else rows
        if made.dtype.kind == "f" and not (good := np.isfinite(made)).all():
            row = int(np.argmin(good))
            hint = '; set "missing" to read files with gaps' if np.isnan(rows[row]) else ""
            raise TrainingError(
                f"{self.where(int(at[row]), name)}: {rows[row]} where a finite number belongs{hint}"
            )
        return made

    def _lists(self, column: Any, name: str, at: Rows) -> Array:  # noqa: ANN401 - pyarrow has no types
        lengths = [len(cell) for cell in column]
        if odd := [n for n, length in enumerate(lengths) if length != lengths[0]]:
            raise TrainingError(
                f"{self.where(int(at[odd[0]]), name)}: a list of {lengths[odd[0]]}; the others "
                f"have {lengths[0]}"
            )
        values = column.flatten()
        if values.null_count:
            gap = int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))
            row = int(at[gap // max(1, lengths[0])])
            raise TrainingError(f"{self.where(row, name)}: nothing where a number belongs")
        rows: Array = values.to_numpy(zero_copy_only=False)
        with np.errstate(over="ignore"):  # refused by name, as infinity
            made: Array = rows.astype(np.float32).reshape(len(lengths), -1)
        check_finite(f"{self.path}, column {name!r}: ", made, int(at[0]))
        return made

    def _check_no_gap(self, column: Any, name: str, at: Rows) -> None:  # noqa: ANN401 - pyarrow has no types
        if column.null_count:
            gaps = column.is_null().to_numpy(zero_copy_only=False)
            where = self.where(int(at[int(np.argmax(gaps))]), name)
            how = '"drop"' if name == self.label else '"drop", "mean" or a number'
            raise TrainingError(
                f'{where}: nothing where a value belongs; set "missing" to {how} to read files '
                "with gaps"
            )

    def where(self, row: int, column: str) -> str:
        """Return the name of a cell, for errors."""
        return f"{self.path}, row {row} (the first is 0), column {column!r}"


def gaps_in(column: Any) -> NDArray[np.bool_]:  # noqa: ANN401 - pyarrow has no types
    """Return a mask of the values of a column that are null or NaN."""
    arrow = load_pyarrow()
    nan = arrow.types.is_floating(column.type)
    found: NDArray[np.bool_] = column.is_null(nan_is_null=nan).to_numpy(zero_copy_only=False)
    return found


def load_pyarrow() -> Any:  # noqa: ANN401 - pyarrow has no types
    """Import pyarrow, only where a Parquet file is read."""
    import pyarrow as pa  # noqa: PLC0415 - only where a parquet file is read

    return pa
