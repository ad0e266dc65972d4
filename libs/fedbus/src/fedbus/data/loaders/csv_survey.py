"""One look at all rows of a text file before they are read: words, means, gaps, their number."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from fedbus.data.categories import VocabularyBuilder
from fedbus.data.cells import Cells, Missing, is_missing
from fedbus.data.columns import Target
from fedbus.data.loaders.csv_rows import CsvTable, Row
from fedbus.data.missing_values import missing_value_notes
from fedbus.errors import TrainingError

_FEW_ROWS = 20
"""From so many rows on, a column that counts them is told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvColumns:
    """What is read from which column, and how.

    Attributes:
        classes: The words of y; None: y holds numbers, or, before the survey, nobody knows.
        words: The vocabularies of the columns of words; None: gathered by the survey.
        guessed: Whether a column is one of words only where its first cell holds a word.
        fill: What stands for a missing number, by column.
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
        """The number of inputs."""
        return sum(len(self.words.get(column, ("",)) or ()) for column in self.features)

    def inputs(self) -> tuple[str, ...]:
        """Name the inputs; those of a word are `column=word`."""
        names = self.sheet.names
        return tuple(
            names[column] if word is None else f"{names[column]}={word}"
            for column in self.features
            for word in (self.words.get(column) or (None,))
        )

    def has_gap(self, row: Row) -> bool:
        """Tell whether a value is missing in a row."""
        _, cells = row
        return any(is_missing(cells[column]) for column in (*self.features, self.label))

    def fast(self, rows: Sequence[Row]) -> NDArray[np.float32] | None:
        """Read the inputs of many rows at once; None: not all are plain numbers."""
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
        """Read a number.

        Raises:
            TrainingError: there is none; names the place, and how to mend it.
        """
        line, cells = row
        text = cells[column]
        if (value := self.cells.number(text)) is not None:
            return value
        if is_missing(text) and column in self.fill:
            return self.fill[column]
        said = repr(text) if text.strip() else "nothing"
        hint = self.cells.hint(text) or self._hint_of_word(text, column)
        where = self.sheet.where(line, column)
        raise TrainingError(f"{where}: {said} where a finite number belongs{hint}")

    def _hint_of_word(self, text: str, column: int) -> str:
        if column == self.label:
            return '; name the words in "classes" if y holds words'
        name = self.sheet.names[column]
        return (
            f'; set "words": {{"{name}": ["{text.strip()[:40]}", …]}}, or "auto", if the column '
            'holds words, or leave it out by "features"'
        )


@dataclass(frozen=True, slots=True)
class CsvSurvey:
    """What a survey found; `plan` has all that a reader needs."""

    plan: CsvColumns
    rows: int
    dropped: int
    missing: Mapping[int, int]
    counting: tuple[str, ...]

    def notes(self) -> Iterator[str]:
        """Say what the owner should know."""
        names = self.plan.sheet.names
        counts = {names[column]: count for column, count in self.missing.items()}
        words = {names[column] for column in self.plan.words}
        yield from missing_value_notes(self.plan.missing, counts, self.dropped, words)
        for name in self.counting:
            yield (
                f"column {name!r} counts the rows; if it is no measurement, leave it out by "
                '"features"'
            )


def survey(plan: CsvColumns, batch: int) -> CsvSurvey:
    """Look at all rows once: count them, gather words, means and gaps.

    Raises:
        TrainingError: a column of words holds too many, or a column has no value to take a mean of.
    """
    plan = replace(plan, classes=_first_words(plan), words=_word_columns(plan))
    looking = _Survey(plan)
    with plan.sheet.rows() as rows:
        while some := list(islice(rows, batch)):
            looking.look(some)
    return looking.found()


def _word_columns(plan: CsvColumns) -> Mapping[int, tuple[str, ...] | None]:
    """Keep of columns that may hold words those whose first value is one."""
    open_ = set(plan.words) if plan.guessed else set()
    words = dict(plan.words)
    with plan.sheet.rows() as rows:
        for _, cells in rows:
            if not open_:
                break
            known = {column for column in open_ if not is_missing(cells[column])}
            for column in known:
                if not plan.cells.is_word(cells[column]):
                    del words[column]
            open_ -= known
    return words


def _first_words(plan: CsvColumns) -> tuple[str, ...] | None:
    """Tell whether y holds words: () stands for words that are not known yet."""
    if plan.classes is not None or plan.target == "number":
        return plan.classes
    with plan.sheet.rows() as rows:
        for line, cells in rows:
            text = cells[plan.label].strip()
            if is_missing(text):
                continue
            if plan.cells.is_word(text):
                return ()
            if plan.cells.number(text) is None:
                plan.value((line, cells), plan.label)  # says why
            return None
    return None


class _Survey:
    """Counts and gathers, some rows at a time."""

    def __init__(self, plan: CsvColumns) -> None:
        self.plan = plan
        self.rows = self.dropped = 0
        self.missing: Counter[int] = Counter()
        self._sums: dict[int, float] = defaultdict(float)
        self._counts: Counter[int] = Counter()
        where = f"{plan.sheet.file.path}, column %r"
        names = plan.sheet.names
        gathered = [c for c, words in plan.words.items() if words is None]
        if plan.classes == ():
            gathered.append(plan.label)
        self._words = {column: VocabularyBuilder(where % names[column]) for column in gathered}
        self._looks: Callable[[Sequence[Row]], None] = self._each if self._needed() else self._few
        self._steps: dict[int, tuple[float, float]] = {}
        self._counting = set(plan.features) - set(plan.words)

    def _needed(self) -> bool:
        return bool(self._words) or self.plan.missing is not None

    def look(self, rows: Sequence[Row]) -> None:
        """Take some rows."""
        self._looks(rows)

    def _few(self, rows: Sequence[Row]) -> None:
        if not self.rows:
            self._look_for_counts(rows)
        self.rows += len(rows)

    def _each(self, rows: Sequence[Row]) -> None:
        if not self.rows:
            self._look_for_counts(rows)
        for row in rows:
            self._one(row)

    def _one(self, row: Row) -> None:
        _, cells = row
        plan = self.plan
        gaps = [c for c in (*plan.features, plan.label) if is_missing(cells[c])]
        self.missing.update(gaps)
        if gaps and plan.missing == "drop":
            self.dropped += 1
            return
        self.rows += 1
        for column, gathering in self._words.items():
            if not is_missing(cells[column]):
                gathering.add([cells[column].strip()])
        if plan.missing == "mean":
            for column in plan.features:
                if column not in plan.words and column not in gaps:
                    self._sums[column] += plan.value(row, column)
                    self._counts[column] += 1

    def _look_for_counts(self, rows: Sequence[Row]) -> None:
        """Keep the columns that go up by one from row to row."""
        if len(rows) < _FEW_ROWS:
            self._counting = set()
        for column in list(self._counting):
            values = [self.plan.cells.number(cells[column]) for _, cells in rows]
            first = values[0]
            if first is None or values != [first + n for n in range(len(rows))]:
                self._counting.discard(column)

    def found(self) -> CsvSurvey:
        """Make a plan that has all that was missing."""
        plan, names = self.plan, self.plan.sheet.names
        made = {column: g.vocabulary(self.rows) for column, g in self._words.items()}
        if plan.classes == ():
            plan = replace(plan, classes=made.pop(plan.label))
        if isinstance(plan.missing, float):
            fill = dict.fromkeys(plan.features, plan.missing)
        else:
            fill = self._means() if plan.missing == "mean" else {}
        plan = replace(plan, words={**plan.words, **made}, fill=fill)
        counting = tuple(names[column] for column in sorted(self._counting)) if names else ()
        return CsvSurvey(plan, self.rows, self.dropped, dict(self.missing), counting)

    def _means(self) -> dict[int, float]:
        means = {}
        for column in self.plan.features:
            if column in self.plan.words:
                continue
            if not self._counts[column] and self.rows:
                name = self.plan.sheet.names[column]
                raise TrainingError(
                    f"{self.plan.sheet.file.path}, column {name!r}: not a single value to take the "
                    'mean of; leave it out by "features"'
                )
            means[column] = self._sums[column] / max(1, self._counts[column])
        return means
