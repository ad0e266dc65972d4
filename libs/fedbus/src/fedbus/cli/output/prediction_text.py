"""Predictions of a model, as lines for people."""

from collections.abc import Mapping
from typing import Any

from fedbus.cli.output import display
from fedbus.number_text import format_percent

ROWS = 20
NUMBERS = 12
"""Outputs printed of one row."""


def print_answer(answer: Mapping[str, Any]) -> None:
    """Print an answer: one line per row, its class or labels first."""
    means = f", {answer['answers']}" if "answers" in answer else ""
    display.show(f"{answer['model']} version {answer['version']}{means}")
    outputs = answer["outputs"]
    several = outputs if isinstance(outputs, dict) else {"": outputs}
    for name, rows in several.items():
        if name:
            display.show(f"{name}:")
        for number, row in enumerate(rows[:ROWS]):
            display.show(f"{number + 1:>4}  {row_line(row, _meaning(answer, number))}")
        if len(rows) > ROWS:
            display.show(f"      … and {len(rows) - ROWS} more; --json prints all")


def _meaning(answer: Mapping[str, Any], number: int) -> str:
    """Format the meaning of a row's outputs: the class with its probability, or the labels."""
    likely = answer.get("probabilities", answer["outputs"])
    if "labels" in answer:
        return ", ".join(map(str, answer["labels"][number])) or "none"
    named = answer["classes"][number] if "classes" in answer else None
    if named is None or isinstance(named, list):  # one class for each position
        return "" if named is None else " ".join(map(str, named[:NUMBERS]))
    row = likely[number]
    shares = row if isinstance(row, list) else [row]
    sure = max(shares) if len(shares) > 1 else max(shares[0], 1 - shares[0])
    return f"{named}  ({format_percent(sure)})"


def row_line(row: object, meaning: str = "") -> str:
    """Format one row of outputs, after their meaning."""
    numbers = row if isinstance(row, list) else [row]
    if all(isinstance(number, int | float) for number in numbers):
        said = " ".join(f"{number:.4g}" for number in numbers[:NUMBERS])
        more = len(numbers) - NUMBERS
        said += f" … {more} more" if more > 0 else ""
    else:
        said = str(row)
    return f"{meaning}  {said}" if meaning else said
