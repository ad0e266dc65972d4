"""Output on the terminal: tables and units for users, JSON for programs."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.text import Text

from fedbus.cli.output.tables import (
    MIN_CUT_CHARACTERS,
    fits,
    format_blocks,
    format_table,
    without_empty,
    wrap_lines,
)
from fedbus.number_text import format_conservatively, format_percent
from fedbus.training.options import (
    LOWER_IS_BETTER,
    TRAINING_PREFIX,
    is_fraction,
    without_training_metrics,
)

METRIC_DIGITS = 4
MIN_TRANSFER_BYTES = 2**20
"""Smallest transfer that gets a progress bar."""
_UNITS = ("B", "KiB", "MiB", "GiB")
_KIB = 1024
_BLANKS = str.maketrans("\t\r\n", "   ")


def out() -> Console:
    """Return the console of results; markup in them, from agents or files, is not interpreted."""
    return _console(sys.stdout, soft_wrap=not sys.stdout.isatty())


def err() -> Console:
    """Return the console of errors, warnings and notes."""
    return _console(sys.stderr, soft_wrap=True)


def _console(file: TextIO, *, soft_wrap: bool) -> Console:
    return Console(file=file, highlight=False, markup=False, emoji=False, soft_wrap=soft_wrap)


def warn(sentence: str) -> None:
    """Print a warning on standard error, which programs do not parse."""
    err().print(f"warning: {sentence}")


def note(sentence: str) -> None:
    """Print a note on standard error, which programs do not parse."""
    err().print(f"note: {sentence}")


def show(sentence: str) -> None:
    """Print text, wrapped to the terminal; commands in backquotes stay on one line."""
    console = out()
    width = console.width if console.is_terminal else None
    console.print(wrap_lines(sentence, width), soft_wrap=True)


def print_verbatim(lines: str) -> None:
    """Print lines without wrapping, to be copied or parsed."""
    out().print(lines, soft_wrap=True)


@contextmanager
def status(what: str) -> Iterator[Callable[[str], None]]:
    """Show a spinner while the block runs; the block may change the text beside it."""
    console = out()
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status(Text(what)) as wheel:
        yield lambda sentence: wheel.update(Text(sentence))


@contextmanager
def progress(what: str, steps: int) -> Iterator[Callable[[str], None]]:
    """Show a bar of steps; the block gives one line per step, printed above the bar."""
    console = out()
    if not console.is_terminal:
        yield show
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    name = TextColumn("{task.description}", markup=False)
    with Progress(name, BarColumn(), TaskProgressColumn(), console=console, transient=True) as bar:
        task = bar.add_task(what, total=steps)

        def advance(sentence: str) -> None:
            bar.console.print(sentence, markup=False)
            bar.advance(task)

        yield advance


@contextmanager
def transfer_progress(what: str, size: int) -> Iterator[Callable[[int], None]]:
    """Show a bar of transferred bytes, on a terminal and from `MIN_TRANSFER_BYTES` on."""
    if size < MIN_TRANSFER_BYTES:
        yield lambda _: None
        return
    with growing_progress(what) as (state_total, advance):
        state_total(size)
        yield advance


@contextmanager
def growing_progress(what: str) -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """Show a bar of bytes whose total the block states: yield (state the total, advance)."""
    console = out()
    if not console.is_terminal:
        yield (lambda _: None), (lambda _: None)
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield (
            lambda total: bar.update(task, total=total, completed=0),
            lambda count: bar.advance(task, count),
        )


def print_json(plain: object) -> None:
    """Print indented JSON."""
    sys.stdout.write(json.dumps(plain, indent=2, ensure_ascii=False) + "\n")


def print_line(plain: object) -> None:
    """Print JSON on one line and flush."""
    sys.stdout.write(json.dumps(plain, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    nothing: str,
    cut: str | None = None,
) -> None:
    """Print a table, or the text `nothing` if it has no rows.

    In a pipe, cells are separated by tabs. On a terminal, columns are aligned, or each row becomes
    a block of lines if the terminal is too narrow; cells of the column `cut` are then truncated.
    """
    filled = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not filled:
        show(nothing)
        return
    console = out()
    if not console.is_terminal:
        for row in (columns, *filled):
            sys.stdout.write("\t".join(cell.translate(_BLANKS) for cell in row) + "\n")
        return
    if not fits(columns, _clipped(columns, filled, cut, MIN_CUT_CHARACTERS), console.width):
        columns, filled = without_empty(columns, filled)
    least = _clipped(columns, filled, cut, MIN_CUT_CHARACTERS)
    if not fits(columns, least, console.width):
        named = max(len(column) for column in columns) + 4
        filled = _clipped(columns, filled, cut, max(MIN_CUT_CHARACTERS, console.width - named))
        console.print(format_blocks(columns, filled), soft_wrap=True)
        return
    header, *lines = format_table(columns, filled, console.width, cut)
    console.print(header, style="bold", soft_wrap=True)
    console.print("\n".join(lines), soft_wrap=True)


def _clipped(
    columns: Sequence[str], rows: Sequence[Sequence[str]], cut: str | None, most: int
) -> list[list[str]]:
    return [
        [
            f"{cell[: most - 1]}…" if column == cut and len(cell) > most else cell
            for column, cell in zip(columns, row, strict=True)
        ]
        for row in rows
    ]


def format_duration(seconds: float) -> str:
    """Format seconds in one word: `12s`, `3min`, `2h`, `5d`."""
    for unit, unit_seconds, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < unit_seconds * most:
            return f"{max(0.0, seconds) // unit_seconds:.0f}{unit}"
    return f"{seconds // 86400:.0f}d"


def format_size(count: float) -> str:
    """Format a number of bytes: `1.5 MiB`."""
    for unit in _UNITS[:-1]:
        if abs(count) < _KIB:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _KIB
    return f"{count:.1f} {_UNITS[-1]}"


def format_held_out(found: Mapping[str, float]) -> str:
    """Format the metrics of held-out data, or those of training data if there are no others."""
    return format_metrics(without_training_metrics(found) or found)


def format_metrics(found: Mapping[str, float]) -> str:
    """Format metrics in a line: accuracy first, metrics of training data last."""
    order = sorted(
        found, key=lambda name: (name.startswith(TRAINING_PREFIX), name != "accuracy", name)
    )
    return "  ".join(f"{name} {format_metric(name, found[name])}" for name in order)


def format_metric(name: str, value: float) -> str:
    """Format one metric: a fraction in percent, others as numbers, rounded to the worse side."""
    if is_fraction(name):
        return format_percent(value)
    lower = name.removeprefix(TRAINING_PREFIX) in LOWER_IS_BETTER
    return format_conservatively(value, METRIC_DIGITS, lower_is_better=lower)


def draw_digit(pixels: Sequence[float], width: int = 8) -> str:
    """Draw a grey image (0 to 1, row by row) in characters, two for each pixel."""
    shades = " .:-=+*#%@"
    rows = [pixels[start : start + width] for start in range(0, len(pixels), width)]
    most = len(shades) - 1
    return "\n".join(
        "".join(2 * shades[round(most * min(1.0, max(0.0, p)))] for p in row) for row in rows
    )
