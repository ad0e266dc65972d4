"""One pass over all rows of a Parquet file before they are read: words, means, missing values."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fedbus.data.arrays import index_names
from fedbus.data.categories import VocabularyBuilder
from fedbus.data.loaders.arrow import ParquetColumns, gaps_in, load_pyarrow
from fedbus.data.missing_values import missing_value_notes
from fedbus.errors import TrainingError


@dataclass(frozen=True, slots=True)
class ParquetSurvey:
    """Result of a survey; `columns` has all that is needed to read the rows."""

    columns: ParquetColumns
    rows: int
    dropped: int
    missing: Mapping[str, int]

    def notes(self) -> Iterator[str]:
        """Yield notes for the owner."""
        words = self.columns.words
        yield from missing_value_notes(self.columns.missing, self.missing, self.dropped, words)


def survey(
    columns: ParquetColumns, pieces: Callable[[], Iterable[tuple[int, Any]]], rows: int
) -> ParquetSurvey:
    """Survey all rows, if vocabularies are to be built or values may be missing.

    Raises:
        TrainingError: a column has too many words, or no value for a mean.
    """
    open_words = [name for name, places in columns.words.items() if not places]
    if columns.classes == {}:
        open_words.append(columns.label)
    if not open_words and columns.missing is None:
        return ParquetSurvey(columns, rows, 0, {})
    words = {name: VocabularyBuilder(f"{columns.path}, column {name!r}") for name in open_words}
    filled = [n for n in columns.features if n not in columns.words] if columns.missing else []
    missing: Counter[str] = Counter()
    sums = dict.fromkeys(filled, 0.0)
    counts = dict.fromkeys(filled, 0)
    found = 0
    for first, every in pieces():
        for name in (columns.label, *columns.features):
            missing[name] += int(gaps_in(every.column(name)).sum())
        some, _ = columns.without_gaps(every, first)
        found += some.num_rows
        for name, gathering in words.items():
            gathering.add(str(w) for w in some.column(name).unique().to_pylist() if w is not None)
        for name in filled if columns.missing == "mean" else ():
            good = ~gaps_in(some.column(name))
            column = some.column(name).filter(load_pyarrow().array(good))
            at = np.arange(first, first + some.num_rows)[good]
            sums[name] += float(columns.numbers(column, name, at).sum(dtype=np.float64))
            counts[name] += len(column)
    known = {name: index_names(g.vocabulary(found)) for name, g in words.items()}
    if columns.classes == {}:
        columns = replace(columns, classes=known.pop(columns.label))
    columns = replace(columns, words={**columns.words, **known})
    fill = _fill(columns, sums, counts)
    return ParquetSurvey(replace(columns, fill=fill), found, rows - found, +missing)


def _fill(
    columns: ParquetColumns, sums: Mapping[str, float], counts: Mapping[str, int]
) -> dict[str, float]:
    if isinstance(columns.missing, float):
        return dict.fromkeys(sums, columns.missing)
    if columns.missing != "mean":
        return {}
    if empty := [name for name, count in counts.items() if not count]:
        raise TrainingError(
            f"{columns.path}, column {empty[0]!r}: not a single value to take the mean of; leave "
            'it out by "features"'
        )
    return {name: sums[name] / counts[name] for name in sums}
