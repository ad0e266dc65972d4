"""Lines on two logarithmic axes, drawn with letters for a terminal. Pure."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import ceil, floor, log10
from string import ascii_uppercase
from typing import Final

Points = Sequence[tuple[float, float]]

WIDTH: Final = 64
HEIGHT: Final = 16
_LABEL_CHARACTERS: Final = 9
_TICKS: Final = (1, 2, 5)


def draw_log_plot(lines: Mapping[str, Points], x_name: str, y_name: str) -> str:
    """Draw lines through points above 0, each with its letter, and name the letters below.

    Where two lines meet, the later one is seen.
    """
    shown = {name: points for name, points in lines.items() if points}
    if not shown:
        return ""
    xs = [log10(x) for points in shown.values() for x, _ in points]
    ys = [log10(y) for points in shown.values() for _, y in points]
    left, right, bottom, top = min(xs), max(xs), min(ys), max(ys)
    rows = [[" "] * WIDTH for _ in range(HEIGHT)]
    for letter, points in zip(ascii_uppercase, shown.values(), strict=False):
        for x, y in _between(sorted(points)):
            row = _place(y, bottom, top, HEIGHT)
            rows[HEIGHT - 1 - row][_place(x, left, right, WIDTH)] = letter
    labels = dict.fromkeys(range(HEIGHT), "")
    for value in _round_values(bottom, top):
        labels[HEIGHT - 1 - _place(log10(value), bottom, top, HEIGHT)] = f"{value:g}"
    drawn = [
        f"{labels[number]:>{_LABEL_CHARACTERS}} |{''.join(row).rstrip()}"
        for number, row in enumerate(rows)
    ]
    names = ", ".join(f"{a} {name}" for a, name in zip(ascii_uppercase, shown, strict=False))
    indent = " " * (_LABEL_CHARACTERS + 2)
    return "\n".join(
        [
            f"{indent}{y_name}",
            *drawn,
            f"{indent[:-1]}+{'-' * WIDTH}",
            f"{indent}{_x_labels(left, right)}",
            f"{indent}{x_name}",
            f"{indent}{names}",
        ]
    )


def _between(points: Points) -> list[tuple[float, float]]:
    """Return logarithms of points on straight lines between the given ones, near together."""
    logs = [(log10(x), log10(y)) for x, y in points]
    found = logs[:1]
    for (x, y), (next_x, next_y) in pairwise(logs):
        found += [
            (x + (next_x - x) * step / WIDTH, y + (next_y - y) * step / WIDTH)
            for step in range(1, WIDTH + 1)
        ]
    return found


def _place(value: float, low: float, high: float, places: int) -> int:
    return round((value - low) / (high - low) * (places - 1)) if high > low else 0


def _round_values(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten within these logarithms."""
    powers = range(floor(low), ceil(high) + 1)
    values = [times * 10.0**power for power in powers for times in _TICKS]
    return [value for value in values if low <= log10(value) <= high]


def _x_labels(left: float, right: float) -> str:
    line = [" "] * (WIDTH + _LABEL_CHARACTERS)
    free = 0
    for value in _round_values(left, right):
        at, text = _place(log10(value), left, right, WIDTH), f"{value:g}"
        if at >= free:
            line[at : at + len(text)] = text
            free = at + len(text) + 1
    return "".join(line).rstrip()
