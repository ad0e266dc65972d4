"""Columns of a Parquet file as numbers: types, missing values, words, pandas' row index."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbus.data.arrays import check_finite, check_row, index_names, index_of, targets
from fedbus.data.categories import VocabularyBuilder
from fedbus.data.cells import Missing
from fedbus.data.columns import Target, index_columns
from fedbus.data.dataset import Batch
from fedbus.data.missing_values import missing_value_notes
from fedbus.errors import TrainingError
from fedbus.model.layout import Array

Rows = NDArray[np.int64]
"""The numbers of rows in their file, the first being 0."""


def pandas_index(schema: Any) -> tuple[int, ...]:  # noqa: ANN401 - pyarrow has no types
    """Find the columns that hold the row index of pandas, by its metadata and by their names."""
    names = list(schema.names)
    try:
        said = json.loads((schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
        index = [names.index(name) for name in said if isinstance(name, str) and name in names]
    except (ValueError, AttributeError, TypeError):
        index = []  # somebody else's metadata
    return tuple(sorted({*index, *index_columns(names)}))


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetColumns:
    """What is read from which column.

    Attributes:
        classes: The words of y and their numbers; None: y holds numbers. Empty: not known yet.
        words: The same of inputs that are words.
        fill: What stands for a missing number, by column.
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
        """Name the inputs; those of a word are `column=word`, those of a list have no names."""
        if any(hasattr(schema.field(name).type, "value_field") for name in self.features):
            return ()
        return tuple(
            name if word is None else f"{name}={word}"
            for name in self.features
            for word in (self.words.get(name) or (None,))
        )

    def batch(self, some: Any, first: int) -> Batch:  # noqa: ANN401 - pyarrow has no types
        """Make numbers of some rows of the file, the first of them being number `first`."""
        some, at = self.kept(some, first)
        x = [self._input(some.column(name), name, at) for name in self.features]
        flat = [column.reshape(len(at), -1) if len(at) else column for column in x]
        if not len(at):
            return np.zeros((0, 1), np.float32), np.zeros(0, np.int64)
        check_row("x", [sum(part.shape[1] for part in flat)], np.dtype(np.float32))
        return np.concatenate(flat, axis=1, dtype=np.float32), self._truths(some, at)

    def kept(self, some: Any, first: int) -> tuple[Any, Rows]:  # noqa: ANN401 - pyarrow has no types
        """Leave out the rows with a missing value, if their owner wants that."""
        at = np.arange(first, first + some.num_rows)
        if self.missing != "drop":
            return some, at
        gap = np.zeros(some.num_rows, bool)
        for name in (self.label, *self.features):
            gap |= gaps_in(some.column(name))
        return some.filter(_arrow().array(~gap)), at[~gap]

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
        arrow = _arrow()
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
        """Name a cell."""
        return f"{self.path}, row {row} (the first is 0), column {column!r}"


def gaps_in(column: Any) -> NDArray[np.bool_]:  # noqa: ANN401 - pyarrow has no types
    """Tell which values of a column are null or NaN."""
    arrow = _arrow()
    nan = arrow.types.is_floating(column.type)
    found: NDArray[np.bool_] = column.is_null(nan_is_null=nan).to_numpy(zero_copy_only=False)
    return found


def check_schema(columns: ParquetColumns, schema: Any, *, guessed: bool) -> ParquetColumns:  # noqa: ANN401 - pyarrow has no types
    """Refuse columns of types that are no numbers; find those of words.

    With `guessed` only columns of texts are taken as words.

    Raises:
        TrainingError: names the column, its type, and the mend.
    """
    texts = {name for name in schema.names if _is_text(schema.field(name).type)}
    words = {n: w for n, w in columns.words.items() if not guessed or n in texts}
    for name in (*columns.features, columns.label):
        known = name in words or (name == columns.label and columns.target != "number")
        why = _refusal(schema.field(name).type, name, is_label=name == columns.label)
        if why and not (known and name in texts):
            raise TrainingError(f"{columns.path}, column {name!r}: {why}")
    gathers = columns.classes is None and columns.label in texts
    return replace(columns, words=words, classes={} if gathers else columns.classes)


def _refusal(kind: Any, name: str, *, is_label: bool) -> str:  # noqa: ANN401 - pyarrow has no types
    types = _arrow().types
    if types.is_dictionary(kind):
        kind = kind.value_type
    inner = kind.value_type if hasattr(kind, "value_field") else kind
    number = types.is_integer(inner) or types.is_floating(inner) or types.is_boolean(inner)
    if number or types.is_decimal(kind):
        return ""
    if types.is_temporal(kind):
        return (
            f"{kind} values: dates and times are not read; write a number of days or seconds, or "
            'leave the column out by "features"'
        )
    if _is_text(kind):
        word = '"classes"' if is_label else f'"words": {{"{name}": "auto"}}'
        return f"{kind} values, not numbers; name the words in {word} if it holds words"
    return f'{kind}, not numbers; leave the column out by "features"'


def _is_text(kind: Any) -> bool:  # noqa: ANN401 - pyarrow has no types
    types = _arrow().types
    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


@dataclass(frozen=True, slots=True)
class ParquetSurvey:
    """What one look at all rows found."""

    columns: ParquetColumns
    rows: int
    dropped: int
    missing: Mapping[str, int]

    def notes(self) -> Iterator[str]:
        """Say what the owner should know."""
        words = self.columns.words
        yield from missing_value_notes(self.columns.missing, self.missing, self.dropped, words)


def survey(
    columns: ParquetColumns, pieces: Callable[[], Iterable[tuple[int, Any]]], rows: int
) -> ParquetSurvey:
    """Look at all rows, where words are gathered or values may be missing.

    Raises:
        TrainingError: a column of words holds too many, or a column has no value to take a mean of.
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
        some, _ = columns.kept(every, first)
        found += some.num_rows
        for name, gathering in words.items():
            gathering.add(str(w) for w in some.column(name).unique().to_pylist() if w is not None)
        for name in filled if columns.missing == "mean" else ():
            good = ~gaps_in(some.column(name))
            column = some.column(name).filter(_arrow().array(good))
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


def _arrow() -> Any:  # noqa: ANN401 - pyarrow has no types
    import pyarrow as pa  # noqa: PLC0415 - only where a parquet file is read

    return pa
