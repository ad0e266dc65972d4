"""How things look: tables and units for people, JSON for programs."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from fedbus.cli.output.tables import CUT_LEAST, blocks, fits, laid_out, without_empty, wrapped
from fedbus.rounding import format_conservatively, format_percent
from fedbus.training import options
from fedbus.training.options import LOWER_IS_BETTER, TRAINING_PREFIX, is_fraction

METRIC_DIGITS = 4
CARRIED_LEAST = 2**20
"""Bytes that are carried with a bar; fewer are there at once."""
_UNITS = ("B", "KiB", "MiB", "GiB")
_KIB = 1024
_BLANKS = str.maketrans("\t\r\n", "   ")


def out() -> Console:
    """Where answers go; no markup is read in them, since much of them is the words of others."""
    return _console(sys.stdout, soft_wrap=not sys.stdout.isatty())


def err() -> Console:
    """Where errors and news about the command itself go."""
    return _console(sys.stderr, soft_wrap=True)


def _console(file: TextIO, *, soft_wrap: bool) -> Console:
    return Console(file=file, highlight=False, markup=False, emoji=False, soft_wrap=soft_wrap)


def warn(sentence: str) -> None:
    """Warn a person of something that may be meant; programs read the other stream."""
    err().print(f"warning: {sentence}")


def note(sentence: str) -> None:
    """Tell a person what they may not expect; programs read the other stream."""
    err().print(f"note: {sentence}")


def say(sentence: str) -> None:
    """Tell a person something; on a narrow terminal in several lines, but no command is broken."""
    console = out()
    width = console.width if console.is_terminal else None
    console.print(wrapped(sentence, width), soft_wrap=True)


def commands(lines: str) -> None:
    """Print lines to be copied, or read by a program: as they are, however wide the terminal."""
    out().print(lines, soft_wrap=True)


@contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Turn a wheel while something takes its time; the block may change the sentence beside it."""
    console = out()
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status(Text(what)) as status:
        yield lambda sentence: status.update(Text(sentence))


@contextmanager
def progress(what: str, steps: int) -> Iterator[Callable[[str], None]]:
    """Count steps on a bar; the block says a sentence for each, printed above it or alone."""
    console = out()
    if not console.is_terminal:
        yield say
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    said = TextColumn("{task.description}", markup=False)
    with Progress(said, BarColumn(), TaskProgressColumn(), console=console, transient=True) as bar:
        task = bar.add_task(what, total=steps)

        def advance(sentence: str) -> None:
            bar.console.print(sentence, markup=False)
            bar.advance(task)

        yield advance


@contextmanager
def carrying(what: str, size: int) -> Iterator[Callable[[int], None]]:
    """Show how much of so many bytes is carried, on a terminal and where that takes its time."""
    console = out()
    if not console.is_terminal or size < CARRIED_LEAST:
        yield lambda _: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=size)
        yield lambda count: bar.advance(task, count)


def print_json(plain: object) -> None:
    """Print for a program: indented, in one piece."""
    sys.stdout.write(json.dumps(plain, indent=2, ensure_ascii=False) + "\n")


def print_line(plain: object) -> None:
    """Print one JSON object on one line, now."""
    sys.stdout.write(json.dumps(plain, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    nothing: str,
    cut: str | None = None,
) -> None:
    """Print rows below their columns' names, or a sentence where there are none.

    In a pipe, tabs separate the cells, for `cut`; on a terminal they stand below each other, or
    each row is a block of lines where the terminal is too narrow for that. There what is in the
    column `cut` ends with the line, however long it is.
    """
    filled = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not filled:
        say(nothing)
        return
    console = out()
    if not console.is_terminal:
        for row in (columns, *filled):
            sys.stdout.write("\t".join(cell.translate(_BLANKS) for cell in row) + "\n")
        return
    if not fits(columns, _clipped(columns, filled, cut, CUT_LEAST), console.width):
        columns, filled = without_empty(columns, filled)
    least = _clipped(columns, filled, cut, CUT_LEAST)
    if not fits(columns, least, console.width):
        named = max(len(column) for column in columns) + 4
        filled = _clipped(columns, filled, cut, max(CUT_LEAST, console.width - named))
        console.print(blocks(columns, filled), soft_wrap=True)
        return
    header, *lines = laid_out(columns, filled, console.width, cut)
    console.print(header, style="bold", soft_wrap=True)
    console.print("\n".join(lines), soft_wrap=True)


def _clipped(
    columns: Sequence[str], rows: Sequence[Sequence[str]], cut: str | None, most: int
) -> list[list[str]]:
    """Shorten what is in one column."""
    return [
        [
            f"{cell[: most - 1]}…" if column == cut and len(cell) > most else cell
            for column, cell in zip(columns, row, strict=True)
        ]
        for row in rows
    ]


def age(seconds: float) -> str:
    """Write how long ago something was, in one word: `12s`, `3min`, `2h`, `5d`."""
    for unit, size_, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < size_ * most:
            return f"{max(0.0, seconds) // size_:.0f}{unit}"
    return f"{seconds // 86400:.0f}d"


def size(count: float) -> str:
    """Write bytes as a person says them: `1.5 MiB`."""
    for unit in _UNITS[:-1]:
        if abs(count) < _KIB:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _KIB
    return f"{count:.1f} {_UNITS[-1]}"


def held_out(found: Mapping[str, float]) -> Mapping[str, float]:
    """Leave out how agents did on what they trained on, where somebody held data out."""
    return options.without_training_metrics(found) or found


def metrics(found: Mapping[str, float]) -> str:
    """Write metrics in a line, the best known first."""
    order = sorted(
        found, key=lambda name: (name.startswith(TRAINING_PREFIX), name != "accuracy", name)
    )
    return "  ".join(f"{name} {metric(name, found[name])}" for name in order)


def metric(name: str, value: float) -> str:
    """Write one metric: shares in percent, others as numbers, rounded to their worse side."""
    if is_fraction(name):
        return format_percent(value)
    lower = name.removeprefix(TRAINING_PREFIX) in LOWER_IS_BETTER
    return format_conservatively(value, METRIC_DIGITS, lower_is_better=lower)


def digit(pixels: Sequence[float], width: int = 8) -> str:
    """Draw a grey picture (0 to 1, row by row) in characters, two for each pixel."""
    shades = " .:-=+*#%@"
    rows = [pixels[start : start + width] for start in range(0, len(pixels), width)]
    most = len(shades) - 1
    return "\n".join(
        "".join(2 * shades[round(most * min(1.0, max(0.0, p)))] for p in row) for row in rows
    )


def plain_json(payload: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Read JSON that a service wrote."""
    return json.loads(payload)
