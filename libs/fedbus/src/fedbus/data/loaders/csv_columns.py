"""Columns of a text file: which are read, and how their cells become numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedbus.data.cells import Cells, Missing, is_missing
from fedbus.data.columns import Target
from fedbus.data.loaders.csv_rows import CsvTable, Row
from fedbus.errors import TrainingError


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvColumns:
    """Columns that are read, and how their cells become numbers.

    Attributes:
        classes: Words of y; None: y holds numbers, or is not surveyed yet.
        words: Vocabularies of the columns of words; None: built by the survey.
        guessed: Whether the survey decides by the first cell which columns hold words.
        fill: Replacement of a missing number, by column.
    """

    sheet: CsvTable
    cells: Cells
    label: int
    features: tuple[int, ...]
    classes: tuple[str, ...] | None
    words: Mapping[int, tuple[str, ...] | None]
    missing: Missing
    target: Target
    guessed: bool = False
    fill: Mapping[int, float] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Number of inputs."""
        return sum(len(self.words.get(column, ("",)) or ()) for column in self.features)

    def inputs(self) -> tuple[str, ...]:
        """Return the inputs' names: `column=word` for words."""
        names = self.sheet.names
        return tuple(
            names[column] if word is None else f"{names[column]}={word}"
            for column in self.features
            for word in (self.words.get(column) or (None,))
        )

    def has_gap(self, row: Row) -> bool:
        """Return whether a value is missing in a row."""
        _, cells = row
        return any(is_missing(cells[column]) for column in (*self.features, self.label))

    def read_plain_numbers(self, rows: Sequence[Row]) -> NDArray[np.float32] | None:
        """Read the inputs of many rows at once; None if not all are plain numbers."""
        if self.words or self.cells.decimal != "." or self.missing == "drop":
            return None
        found = [[cells[c] for c in self.features] for _, cells in rows]
        try:
            table = np.array(found, float)
        except ValueError:
            return None
        if any("_" in cell for cells in found for cell in cells):  # 1_000 is a number to Python
            return None
        with np.errstate(over="ignore"):
            made = table.astype(np.float32)
        return made if np.isfinite(made).all() else None

    def value(self, row: Row, column: int) -> float:
        """Read a number; raise TrainingError, with the place and advice, if there is none."""
        line, cells = row
        text = cells[column]
        if (value := self.cells.number(text)) is not None:
            return value
        if is_missing(text) and column in self.fill:
            return self.fill[column]
        shown = repr(text) if text.strip() else "nothing"
        hint = self.cells.hint(text) or self._hint_of_word(text, column)
        where = self.sheet.where(line, column)
        raise TrainingError(f"{where}: {shown} where a finite number belongs{hint}")

    def _hint_of_word(self, text: str, column: int) -> str:
        if column == self.label:
            return '; name the words in "classes" if y holds words'
        name = self.sheet.names[column]
        return (
            f'; set "words": {{"{name}": ["{text.strip()[:40]}", …]}}, or "auto", if the column '
            'holds words, or leave it out by "features"'
        )
