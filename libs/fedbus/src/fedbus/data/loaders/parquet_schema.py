"""Schema of a Parquet file: columns of unsupported types, of words, and of pandas' row index."""

import json
from dataclasses import replace
from typing import Any

from fedbus.data.columns import index_columns
from fedbus.data.loaders.arrow import ParquetColumns, load_pyarrow
from fedbus.errors import TrainingError


def pandas_index(schema: Any) -> tuple[int, ...]:  # noqa: ANN401 - pyarrow has no types
    """Return the columns of the row index of pandas, by its metadata and by their names."""
    names = list(schema.names)
    try:
        stated = json.loads((schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
        index = [names.index(name) for name in stated if isinstance(name, str) and name in names]
    except (ValueError, AttributeError, TypeError):
        index = []  # metadata of another program
    return tuple(sorted({*index, *index_columns(names)}))


def check_schema(columns: ParquetColumns, schema: Any, *, guessed: bool) -> ParquetColumns:  # noqa: ANN401 - pyarrow has no types
    """Reject columns of unsupported types; keep the columns of words.

    With `guessed` only text columns are taken as words.

    Raises:
        TrainingError: names the column, its type, and what to do.
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
    types = load_pyarrow().types
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
    types = load_pyarrow().types
    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))
