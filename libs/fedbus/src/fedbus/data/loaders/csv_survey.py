"""One look at all rows of a text file before they are read: words, means, gaps, their number."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from fedbus.data.categories import VocabularyBuilder
from fedbus.data.cells import is_missing
from fedbus.data.loaders.csv_columns import CsvColumns
from fedbus.data.loaders.csv_rows import Row
from fedbus.data.missing_values import missing_value_notes
from fedbus.errors import TrainingError

_FEW_ROWS = 20
"""From so many rows on, a column that counts them is told of."""


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
