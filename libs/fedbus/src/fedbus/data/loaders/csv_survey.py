"""One pass over all rows of a text file before they are read: words, means, missing values."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from fedbus.data.categories import VocabularyBuilder
from fedbus.data.cells import is_missing
from fedbus.data.loaders.csv_columns import CsvColumns
from fedbus.data.loaders.csv_rows import Row
from fedbus.data.missing_values import missing_value_notes
from fedbus.errors import TrainingError

_FEW_ROWS = 20
"""Minimum number of rows for a note on a column that counts the rows."""


@dataclass(frozen=True, slots=True)
class CsvSurvey:
    """What a survey found; `columns` has all that a reader needs."""

    columns: CsvColumns
    rows: int
    dropped: int
    missing: Mapping[int, int]
    counting: tuple[str, ...]

    def notes(self) -> Iterator[str]:
        """Yield notes for the owner."""
        names = self.columns.sheet.names
        counts = {names[column]: count for column, count in self.missing.items()}
        words = {names[column] for column in self.columns.words}
        yield from missing_value_notes(self.columns.missing, counts, self.dropped, words)
        for name in self.counting:
            yield (
                f"column {name!r} counts the rows; if it is no measurement, leave it out by "
                '"features"'
            )


def survey(columns: CsvColumns, batch: int) -> CsvSurvey:
    """Survey all rows: count them, build vocabularies, compute means, count missing values.

    Raises:
        TrainingError: a column has too many words, or no value for a mean.
    """
    columns = replace(columns, classes=_first_words(columns), words=_word_columns(columns))
    survey_pass = _Pass(columns)
    with columns.sheet.rows() as rows:
        while some := list(islice(rows, batch)):
            survey_pass.look(some)
    return survey_pass.found()


def _word_columns(columns: CsvColumns) -> Mapping[int, tuple[str, ...] | None]:
    """Of the columns that may hold words, keep those whose first value is a word."""
    open_ = set(columns.words) if columns.guessed else set()
    words = dict(columns.words)
    with columns.sheet.rows() as rows:
        for _, cells in rows:
            if not open_:
                break
            known = {column for column in open_ if not is_missing(cells[column])}
            for column in known:
                if not columns.cells.is_word(cells[column]):
                    del words[column]
            open_ -= known
    return words


def _first_words(columns: CsvColumns) -> tuple[str, ...] | None:
    """Return the classes of y; () if y holds words that are not known yet."""
    if columns.classes is not None or columns.target == "number":
        return columns.classes
    with columns.sheet.rows() as rows:
        for line, cells in rows:
            text = cells[columns.label].strip()
            if is_missing(text):
                continue
            if columns.cells.is_word(text):
                return ()
            if columns.cells.number(text) is None:
                columns.value((line, cells), columns.label)  # says why
            return None
    return None


class _Pass:
    """State of a survey; `look` adds some rows."""

    def __init__(self, columns: CsvColumns) -> None:
        self.columns = columns
        self.rows = self.dropped = 0
        self.missing: Counter[int] = Counter()
        self._sums: dict[int, float] = defaultdict(float)
        self._counts: Counter[int] = Counter()
        where = f"{columns.sheet.file.path}, column %r"
        names = columns.sheet.names
        gathered = [c for c, words in columns.words.items() if words is None]
        if columns.classes == ():
            gathered.append(columns.label)
        self._words = {column: VocabularyBuilder(where % names[column]) for column in gathered}
        self._steps: dict[int, tuple[float, float]] = {}
        self._counting = set(columns.features) - set(columns.words)

    def look(self, rows: Sequence[Row]) -> None:
        """Add some rows."""
        if not self.rows:
            self._look_for_counts(rows)
        if self._words or self.columns.missing is not None:
            for row in rows:
                self._one(row)
        else:
            self.rows += len(rows)

    def _one(self, row: Row) -> None:
        _, cells = row
        columns = self.columns
        gaps = [c for c in (*columns.features, columns.label) if is_missing(cells[c])]
        self.missing.update(gaps)
        if gaps and columns.missing == "drop":
            self.dropped += 1
            return
        self.rows += 1
        for column, gathering in self._words.items():
            if not is_missing(cells[column]):
                gathering.add([cells[column].strip()])
        if columns.missing == "mean":
            for column in columns.features:
                if column not in columns.words and column not in gaps:
                    self._sums[column] += columns.value(row, column)
                    self._counts[column] += 1

    def _look_for_counts(self, rows: Sequence[Row]) -> None:
        """Keep the columns that increase by one from row to row."""
        if len(rows) < _FEW_ROWS:
            self._counting = set()
        for column in list(self._counting):
            values = [self.columns.cells.number(cells[column]) for _, cells in rows]
            first = values[0]
            if first is None or values != [first + n for n in range(len(rows))]:
                self._counting.discard(column)

    def found(self) -> CsvSurvey:
        """Make a columns that has all that was missing."""
        columns, names = self.columns, self.columns.sheet.names
        made = {column: g.vocabulary(self.rows) for column, g in self._words.items()}
        if columns.classes == ():
            columns = replace(columns, classes=made.pop(columns.label))
        if isinstance(columns.missing, float):
            fill = dict.fromkeys(columns.features, columns.missing)
        else:
            fill = self._means() if columns.missing == "mean" else {}
        columns = replace(columns, words={**columns.words, **made}, fill=fill)
        counting = tuple(names[column] for column in sorted(self._counting)) if names else ()
        return CsvSurvey(columns, self.rows, self.dropped, dict(self.missing), counting)

    def _means(self) -> dict[int, float]:
        means = {}
        for column in self.columns.features:
            if column in self.columns.words:
                continue
            if not self._counts[column] and self.rows:
                name = self.columns.sheet.names[column]
                raise TrainingError(
                    f"{self.columns.sheet.file.path}, column {name!r}: not a single value to take "
                    "the "
                    'mean of; leave it out by "features"'
                )
            means[column] = self._sums[column] / max(1, self._counts[column])
        return means
