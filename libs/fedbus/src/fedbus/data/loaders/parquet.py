"""`parquet`: a columnar file, read in pieces with pyarrow (`pip install "fedbus[parquet]"`)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from fedbus.data.arrays import cached_if_small, check_batch_size, index_names
from fedbus.data.categories import Words, check_words
from fedbus.data.cells import Missing, check_missing
from fedbus.data.columns import Target, check_target, choose, left_out_note
from fedbus.data.dataset import Batch, Dataset
from fedbus.data.description import DatasetInfo
from fedbus.data.loaders.arrow import ParquetColumns
from fedbus.data.loaders.parquet_schema import check_schema, pandas_index
from fedbus.data.loaders.parquet_survey import survey
from fedbus.data.open_file import BUFFER_BYTES, OpenFile
from fedbus.errors import PluginError, TrainingError

BUFFERS_BYTES: Final = 16 * 2**20
"""Buffers of all columns together, with at least `MIN_BUFFER_BYTES` each."""
MIN_BUFFER_BYTES: Final = 8 * 2**10


def parquet(  # noqa: PLR0913 - as for csv
    path: str,
    batch: int = 256,
    *,
    label: str | int | None = None,
    features: Sequence[str | int] | None = None,
    target: Target = "auto",
    classes: Sequence[str] | None = None,
    words: Words = None,
    missing: Missing = None,
) -> Dataset:
    """Load a table of numbers; a column of lists, all of one length, gives many inputs.

    A page of each column is in memory at a time, and the dictionaries of a row group: with what
    pyarrow writes by default up to 2 MB for each column of many different numbers, next to nothing
    with `use_dictionary=False` or small row groups.

    Args:
        path: The file.
        batch: Rows read at once.
        label: The column of y, by its name or its number (from 0); the last one by default.
        features: The columns of x, in this order; all others by default, without the row index of
            pandas.
        target: What y is: a `class`, a `number`, or, with `auto`, what the column's type says.
        classes: The words that y holds; a word's place here is its class, and y may hold that
            number too. By default the words that are there, sorted.
        words: The columns of x that hold words, as {"colour": ["blue", "red"]}: one input for each
            word, 1 where it stands there. "auto" takes the words that are there, sorted.
        missing: What becomes of a row with a null or NaN: "drop" leaves the row out, "mean" takes
            the column's mean, a number stands in its place; by default it is refused.

    Raises:
        TrainingError: names the row, counted from 0, and the column.
    """
    check_batch_size(batch)
    check_target(target)
    file = OpenFile(Path(path))
    with _opened(file) as found:
        schema, rows = found.schema_arrow, int(found.metadata.num_rows)
    names = list(schema.names)
    if not rows or not names:
        raise TrainingError(f"{path}: the data set has no rows")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TrainingError(f"{path}: columns named twice: {', '.join(twice)}")
    gone = pandas_index(schema)
    y, x = choose(path, names, label, features, gone)
    wanted = {names[c]: w for c, w in check_words(words, names).items() if c in x}
    columns = ParquetColumns(
        path=path,
        label=names[y],
        features=[names[column] for column in x],
        target=target,
        classes=None if classes is None else index_names(classes),
        words={name: index_names(each or ()) if each else {} for name, each in wanted.items()},
        missing=check_missing(missing),
    )
    columns = check_schema(columns, schema, guessed=words == "auto")

    def pieces() -> Iterator[tuple[int, Any]]:
        first = 0
        needed = [columns.label, *columns.features]
        with _opened(file, len(needed)) as found:
            for some in found.iter_batches(batch, columns=needed, use_threads=False):
                yield first, some
                first += some.num_rows

    seen = survey(columns, pieces, rows)
    if not seen.rows:
        raise TrainingError(f"{path}: every row has a missing value")

    def batches() -> Iterator[Batch]:
        made = (seen.columns.batch(some, first) for first, some in pieces())
        return (batch for batch in made if len(batch[1]))

    info = DatasetInfo(
        classes=tuple(seen.columns.classes or ()),
        columns=seen.columns.inputs(schema),
        missing=seen.missing,
        notes=(*left_out_note(names, gone, (y, *x)), *seen.notes()),
    )
    return cached_if_small(Dataset(seen.rows, batches, info=info), batch)


@contextmanager
def _opened(file: OpenFile, columns: int = 1) -> Iterator[Any]:
    """Open the file with a buffer for each column; by default pyarrow reads whole columns."""
    try:
        import pyarrow.parquet  # noqa: PLC0415 - only where a parquet file is read
    except ImportError as error:
        raise PluginError('parquet files are read by pyarrow; pip install "fedbus[parquet]"') from (
            error
        )
    reader: Any = pyarrow.parquet.ParquetFile  # untyped
    with file.open() as raw:
        try:
            size = max(MIN_BUFFER_BYTES, min(BUFFER_BYTES, BUFFERS_BYTES // columns))
            with reader(raw, pre_buffer=False, buffer_size=size) as found:
                yield found
        except (pyarrow.ArrowException, OSError) as error:
            raise TrainingError(f"{file.path}: not a parquet file: {error}") from error
        finally:
            # pyarrow keeps freed memory, mostly of dictionaries, while the agent is idle.
            pyarrow.default_memory_pool().release_unused()
