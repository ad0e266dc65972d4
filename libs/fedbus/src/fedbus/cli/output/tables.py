"""Text and tables on terminals of any width. Pure.

A word is never broken: whoever copies a name or a command must not get a newline in the middle.
"""

import re
from collections.abc import Sequence
from itertools import zip_longest
from textwrap import wrap

GAP = 2
"""Blanks between two columns."""
CUT_LEAST = 16
"""Columns of text that a column which may be cut keeps at least."""


def wrapped(text: str, width: int | None) -> str:
    """Break lines between words, but neither `what is quoted so` nor a line that is indented.

    Such are commands, and whoever copies one must not get a newline in the middle.
    """
    if width is None:
        return text
    return "\n".join(_wrapped_line(line, width) for line in text.split("\n"))


def _wrapped_line(line: str, width: int) -> str:
    if line.startswith(" ") or len(line) <= width:
        return line
    words = re.findall(r"(?:`[^`]*`|[^\s`]|`)+", line)
    lines = [words[0]] if words else [""]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)


def least_widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Measure the longest word of each column, its name included."""
    return [
        max(len(word) for cell in column for word in ("", *cell.split()))
        for column in zip(columns, *rows, strict=True)
    ]


def fits(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> bool:
    """Tell whether a table can stand in so many columns of text with no word broken."""
    return _total(least_widths(columns, rows)) <= width


def laid_out(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, cut: str | None = None
) -> list[str]:
    """Write a table that fits: its header, then lines of rows, their cells broken between words.

    What is in the column `cut` ends with its line, however long it is.
    """
    table = [columns, *rows]
    least = least_widths(columns, rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    if cut in columns:
        at = columns.index(cut)
        least[at] = min(CUT_LEAST, widths[at])
        # It gives way before any other column.
        widths[at] = max(least[at], min(widths[at], width - _total(widths) + widths[at]))
    while _total(widths) > width:
        slack = [wide - need for wide, need in zip(widths, least, strict=True)]
        if max(slack) <= 0:
            break
        widths[slack.index(max(slack))] -= 1
    lines: list[str] = []
    for row in table:
        cells = [
            [cell if len(cell) <= wide else f"{cell[: wide - 1]}…"]
            if name == cut
            else wrap(cell, wide, break_long_words=False, break_on_hyphens=False)
            for name, cell, wide in zip(columns, row, widths, strict=True)
        ]
        for parts in zip_longest(*cells, fillvalue=""):
            padded = (part.ljust(wide) for part, wide in zip(parts, widths, strict=True))
            lines.append((" " * GAP).join(padded).rstrip())
    return lines


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def without_empty(
    columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[str]]]:
    """Leave out the columns in which no row says anything."""
    said = [at for at in range(len(columns)) if at == 0 or any(row[at] for row in rows)]
    return [columns[at] for at in said], [[row[at] for at in said] for row in rows]


def blocks(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write each row as lines: its first cell, and below it the others by their column's name."""
    longest = max((len(column) for column in columns[1:]), default=0)
    lines = []
    for first, *others in rows:
        lines.append(first)
        named = zip(columns[1:], others, strict=True)
        lines += [f"  {name.lower():{longest}}  {cell}" for name, cell in named if cell]
    return "\n".join(lines)
