"""Text and tables on terminals of any width. Pure.

A word is never broken: whoever copies a name or a command must not get a newline in the middle.
"""

import re
from collections.abc import Sequence

GAP = 2
"""Blanks between two columns."""


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
    return sum(least_widths(columns, rows)) + GAP * (len(columns) - 1) <= width


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
