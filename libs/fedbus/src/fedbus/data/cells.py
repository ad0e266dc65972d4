"""Cells of a text file: numbers, words, missing values, and hints for other content. Pure."""

import re
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from fedbus.errors import TrainingError

Missing = Literal["drop", "mean"] | float | None
"""Treatment of a missing value: drop its row, the column's mean, a number; None: an error."""

NOTHING: Final = frozenset({"", "na", "n/a", "#n/a", "nan", "<na>", "null", "none", "?", "-"})
"""Cells, in lower case, that stand for a missing value."""
_FLAGS: Final = {"true": 1.0, "false": 0.0}
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_THOUSANDS: Final = re.compile(r"[+-]?\d{1,3}(?:[ ,.'_\u2019\u00a0\u202f]\d{3})+(?:[.,]\d+)?")
_COMMA: Final = re.compile(r"[+-]?\d*,\d+(?:e[+-]?\d+)?", re.IGNORECASE)
_DATE: Final = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:[T ].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}(?: .*)?"
    r"|\d{1,2}:\d{2}(?::\d{2})?.*"
)
_INFINITE: Final = re.compile(r"[+-]?inf(?:inity)?", re.IGNORECASE)
_MAX: Final = float(np.finfo(np.float32).max)


def check_missing(missing: object) -> Missing:
    """Raise TrainingError for an unknown `missing`, with the possible values."""
    if missing is None or missing in ("drop", "mean"):
        return missing
    if isinstance(missing, bool) or not isinstance(missing, int | float) or abs(missing) > _MAX:
        raise TrainingError(f'missing is {missing!r}: expected "drop", "mean" or a number')
    return float(missing)


def is_missing(text: str) -> bool:
    """Return whether a cell stands for a missing value."""
    return text.strip().lower() in NOTHING


@dataclass(frozen=True, slots=True)
class Cells:
    """Parser of the cells of one file.

    Attributes:
        decimal: The decimal mark, a dot or a comma.
    """

    decimal: str = "."

    def __post_init__(self) -> None:
        """Reject any other decimal mark."""
        if self.decimal not in {".", ","}:
            raise TrainingError(f'decimal is {self.decimal!r}: expected "." or ","')

    def number(self, text: str) -> float | None:
        """Read a number in the range of float32; true is 1 and false 0; None: not a number."""
        plain = text.strip()
        if self.decimal == ",":
            if "." in plain:
                return None
            plain = plain.replace(",", ".")
        if not _NUMBER.fullmatch(plain):
            return _FLAGS.get(plain.lower())
        value = float(plain)
        return value if abs(value) <= _MAX else None

    def is_word(self, text: str) -> bool:
        """Return whether a cell holds a word: neither a number or date, nor what looks like one."""
        plain = text.strip()
        return not is_missing(plain) and self.number(plain) is None and not self.hint(plain)

    def hint(self, text: str) -> str:
        """Return a hint on a cell that looks like a number or a date; "" for a word."""
        plain = text.strip()
        comma = self.decimal == "." and _COMMA.fullmatch(plain)
        thousands = _THOUSANDS.fullmatch(plain)
        hints = (
            (
                is_missing(plain),
                '; set "missing" to "drop", "mean" or a number to read files with gaps',
            ),
            (
                _DATE.fullmatch(plain),
                (
                    ": dates and times are not read; write a number of days or seconds, or leave "
                    'the column out by "features"'
                ),
            ),
            (
                thousands,
                ": separators of thousands are not read; write 1234.5"
                + (', or set "decimal": "," if commas stand before fractions' if comma else ""),
            ),
            (comma, '; set "decimal": "," if commas stand before fractions'),
            (self.decimal == "," and _NUMBER.fullmatch(plain), '; "decimal" is ","'),
            (_NUMBER.fullmatch(plain), "; float32 cannot hold it"),
            (
                _INFINITE.fullmatch(plain),
                ": infinity is no measurement; mend the row or remove it",
            ),
        )
        return next((hint for true, hint in hints if true), "")
