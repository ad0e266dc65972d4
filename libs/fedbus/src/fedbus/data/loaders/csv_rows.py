"""Rows of a text file: encoding, delimiter, names of columns, cells."""

import codecs
import csv as table
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

from fedbus.data.cells import Cells
from fedbus.data.open_file import OpenFile
from fedbus.errors import TrainingError
from fedbus.text import in_given_order

Row = tuple[int, list[str]]
"""Number of a line, the first being 1, and its cells."""

DELIMITERS: Final = (",", ";", "\t", "|")
"""Detected delimiters, in this order."""
_SAMPLE_CHARACTERS: Final = 2**20
_SAMPLE_ROWS: Final = 20
_SEP: Final = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)
"""A first line that Excel writes, and reads as the delimiter."""
_OTHER_FILES: Final = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook; export the sheet as CSV"),
    (b"\x1f\x8b", "packed by gzip; unpack it"),
    (b"PAR1", "a Parquet file; the loader is parquet"),
    (codecs.BOM_UTF32_LE, 'UTF-32; set "encoding": "utf-32"'),
    (codecs.BOM_UTF16_LE, 'UTF-16; set "encoding": "utf-16"'),
    (codecs.BOM_UTF16_BE, 'UTF-16; set "encoding": "utf-16"'),
)


def check_encoding(encoding: object) -> str:
    """Return the name of a text encoding; raise TrainingError if it is unknown."""
    try:
        name = codecs.lookup(str(encoding)).name
        "".encode(name)  # not for hex, zip and their like
    except (LookupError, ValueError) as error:
        known = "utf-8, utf-16, latin-1, cp1252"
        raise TrainingError(f"encoding is {encoding!r}; expected one of Python's: {known}") from (
            error
        )
    return "utf-8-sig" if name == "utf-8" else name


class CsvTable:
    """A text file as a table.

    Args:
        file: The opened file.
        header: Whether line 1 names the columns; None: it does, and is refused where it holds
            numbers.
        delimiter: Separator of cells; None: detected.
        encoding: Encoding of the text.
        cells: Parser of the cells.
        label: The column of y in the owner's settings, for the check of line 1.

    Attributes:
        names: The names of the columns, or their numbers.
        named: Whether line 1 names them.
        delimiter: Separator of cells.

    Raises:
        TrainingError: the file is no such text, or line 1 holds no names.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - options of a file format
        self,
        file: OpenFile,
        header: bool | None,  # noqa: FBT001 - as the setting
        delimiter: str | None,
        encoding: str,
        cells: Cells,
        label: str | int | None = None,
    ) -> None:
        self.file = file
        self._encoding = check_encoding(encoding)
        sample = self._sample()
        sep_line = _SEP.match(sample)
        self._first = 1 if sep_line else 0
        self.delimiter = delimiter or (sep_line[1] if sep_line else detect_delimiter(sample))
        self.named = header is not False
        with self._lines() as lines:
            first = next(lines, None)
        if first is None:
            raise TrainingError(f"{file.path}: not a single line")
        names = [cell.strip() for cell in first[1]]
        if header is None:
            _check_names(f"{file.path}, line {first[0]}", names, cells, label)
        if len(names) == 1:
            first_line = sample.partition("\n")[0].strip()
            raise TrainingError(
                f"{file.path}: one column only, cut at {self.delimiter!r}: {first_line[:60]!r}; "
                'x needs columns beside y ("delimiter" says what stands between cells)'
            )
        twice = sorted({cell for cell in names if cell and names.count(cell) > 1})
        if self.named and twice:
            raise TrainingError(
                f"{file.path}, line {first[0]}: columns named twice: {', '.join(twice)}"
            )
        self.names = names if self.named else [str(number) for number in range(len(names))]
        self._unnamed = {n for n, name in enumerate(names) if not name} if self.named else set()

    @contextmanager
    def rows(self) -> Iterator[Iterator[Row]]:
        """Iterate over the rows, without lines whose cells are all empty."""
        with self._lines() as lines:
            walked = islice(lines, 1, None) if self.named else lines
            yield (self._fitted(row) for row in walked)

    def where(self, line: int, column: int) -> str:
        """Return the name of a cell, for errors."""
        return f"{self.file.path}, line {line}, column {self.names[column]!r}"

    def _fitted(self, row: Row) -> Row:
        """Drop empty cells at the end, which spreadsheets write; reject any other length."""
        line, cells = row
        width = len(self.names)
        if len(cells) > width and not any(map(str.strip, cells[width:])):
            return line, cells[:width]
        if len(cells) < width and self._unnamed.issuperset(range(len(cells), width)):
            return line, cells + [""] * (width - len(cells))
        if len(cells) != width:
            hint = "" if len(cells) > 1 else f" (cells are separated by {self.delimiter!r})"
            raise TrainingError(
                f"{self.file.path}, line {line}: {len(cells)} cells; there are {width} columns"
                f"{hint}"
            )
        return row

    def _sample(self) -> str:
        with self.file.open() as raw:
            head = raw.read(8)
        for magic, what in _OTHER_FILES:
            wide = "UTF" in what and self._encoding.startswith(("utf-16", "utf-32"))
            if head.startswith(magic) and not wide:
                raise TrainingError(f"{self.file.path}: not UTF-8 text: {what}")
        with self._text() as text:
            try:
                sample = text.read(_SAMPLE_CHARACTERS)
            except UnicodeError:
                return ""  # named by its line, below
        if "\0" in sample:
            raise TrainingError(f'{self.file.path}: no text: it holds NUL ("encoding"?)')
        whole_lines = sample.rpartition("\n")[0] if len(sample) == _SAMPLE_CHARACTERS else ""
        return whole_lines or sample

    def _text(self) -> io.TextIOWrapper:
        # newline="" lets the csv module see line ends inside quotes.
        return io.TextIOWrapper(self.file.open(), encoding=self._encoding, newline="")

    @contextmanager
    def _lines(self) -> Iterator[Iterator[Row]]:
        with self._text() as text:
            reader = table.reader(
                text, delimiter=self.delimiter, strict=True, skipinitialspace=True
            )
            yield islice(self._walk(reader), self._first, None)

    def _walk(self, reader: Any) -> Iterator[Row]:  # noqa: ANN401 - the csv module names no type
        try:
            for cells in reader:
                if any(cells) and any(map(str.strip, cells)):
                    yield reader.line_num, cells
        except table.Error as error:
            raise TrainingError(f"{self.file.path}, line {reader.line_num}: {error}") from error
        except UnicodeError as error:
            where = f"{self.file.path}, near line {reader.line_num + 1}"
            why = error.reason if isinstance(error, UnicodeDecodeError) else error
            name = self._encoding.removesuffix("-sig").upper()
            hint = '; set "encoding": "cp1252" or "latin-1"' if name == "UTF-8" else ""
            raise TrainingError(f"{where}: not {name}: {why}{hint}") from error


def detect_delimiter(sample: str) -> str:
    """Detect the delimiter: the one that splits the first lines into equally many cells."""
    best, most = DELIMITERS[0], 1
    for delimiter in DELIMITERS:
        try:
            reader = table.reader(
                sample.splitlines(keepends=True), delimiter=delimiter, skipinitialspace=True
            )
            widths = {len(cells) for cells in islice(filter(any, reader), _SAMPLE_ROWS)}
        except table.Error:
            continue
        if len(widths) == 1 and (width := widths.pop()) > most:
            best, most = delimiter, width
    if most > 1:
        return best
    first = sample.partition("\n")[0]
    return max(DELIMITERS, key=first.count)


def _check_names(where: str, names: Sequence[str], cells: Cells, label: object) -> None:
    """Reject a line of numbers where names are expected."""
    for name in names:
        if name != label and cells.number(name) is not None:
            raise TrainingError(
                f"{where}: {name!r} where the name of a column is expected; set "
                '"header": false if no line names the columns, "header": true if this is a name '
                f"({len(names)} columns: {in_given_order(names)})"
            )
