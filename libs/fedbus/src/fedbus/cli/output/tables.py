"""Layout of text and tables for a terminal width. Performs no I/O.

Words are never broken, so that a copied name or command has no newline in it.
"""

import re
from collections.abc import Sequence
from itertools import zip_longest
from textwrap import wrap

GAP = 2
"""Spaces between two columns."""
MIN_CUT_CHARACTERS = 16
"""Smallest width to which a cell is truncated."""


def wrap_lines(text: str, width: int | None) -> str:
    """Break lines between words, except in backquotes and in indented lines: those are commands."""
    if width is None:
        return text
    return "\n".join(_wrap_line(line, width) for line in text.split("\n"))


def _wrap_line(line: str, width: int) -> str:
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
    """Return the length of the longest word of each column, header included."""
    return [
        max(len(word) for cell in column for word in ("", *cell.split()))
        for column in zip(columns, *rows, strict=True)
    ]


def fits(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> bool:
    """Return whether a table fits a width without breaking words."""
    return _total(least_widths(columns, rows)) <= width


def format_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, cut: str | None = None
) -> list[str]:
    """Return the lines of a table, header first; cells of the column `cut` are truncated."""
    table = [columns, *rows]
    least = least_widths(columns, rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    if cut in columns:
        at = columns.index(cut)
        least[at] = min(MIN_CUT_CHARACTERS, widths[at])
        # Shrink it before any other column.
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
    """Return the table without its empty columns."""
    filled = [at for at in range(len(columns)) if at == 0 or any(row[at] for row in rows)]
    return [columns[at] for at in filled], [[row[at] for at in filled] for row in rows]


def format_blocks(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format each row as lines: its first cell, then the other cells with their headers."""
    longest = max((len(column) for column in columns[1:]), default=0)
    lines = []
    for first, *others in rows:
        lines.append(first)
        named = zip(columns[1:], others, strict=True)
        lines += [f"  {name.lower():{longest}}  {cell}" for name, cell in named if cell]
    return "\n".join(lines)
