"""Which column of a table is y, and which are x."""

from collections.abc import Sequence
from typing import Literal

from fedbus.errors import TrainingError
from fedbus.layout import listed

Target = Literal["auto", "class", "number"]


def choose(
    path: str,
    names: Sequence[str],
    label: str | int | None,
    features: Sequence[str | int] | None,
) -> tuple[int, tuple[int, ...]]:
    """Find the label's column and the inputs', each by its name or its number from 0.

    Raises:
        TrainingError: there is no such column, one is named twice, or none is left for x.
    """
    found = len(names) - 1 if label is None else _find(path, names, label)
    if features is None:
        rest = tuple(column for column in range(len(names)) if column != found)
    else:
        rest = tuple(_find(path, names, feature) for feature in features)
    if not rest or len({found, *rest}) != 1 + len(rest):
        raise TrainingError(
            f"{path}: y is {names[found]!r} and x {listed(names[c] for c in rest) or 'nothing'}; "
            "x needs columns of its own, each once"
        )
    return found, rest


def _find(path: str, names: Sequence[str], wanted: str | int) -> int:
    if isinstance(wanted, str) and wanted in names:
        return list(names).index(wanted)
    if type(wanted) is int and -len(names) <= wanted < len(names):
        return wanted % len(names)
    raise TrainingError(f"{path}: no column {wanted!r}; it has {listed(names)}")
