"""Choice of the columns of a table that are x and y."""

import re
from collections.abc import Sequence
from typing import Final, Literal

from fedbus.errors import TrainingError
from fedbus.text import in_given_order

Target = Literal["auto", "class", "number"]
_LABELS: Final = frozenset({"class", "label", "labels", "target", "y"})
"""Usual names of the column of y, in lower case."""
_INDEX: Final = re.compile(r"|Unnamed: \d+(?:[._]\w+)*|__index_level_\d+__")
"""Names that pandas gives to the column of its row index, and to columns without a name."""


def check_target(target: object) -> None:
    """Raise TrainingError for an unknown `target`, with the possible values."""
    if target not in {"auto", "class", "number"}:
        raise TrainingError(f'target is {target!r}: expected "auto", "class" or "number"')


def index_columns(names: Sequence[str]) -> tuple[int, ...]:
    """Find columns that hold a row index or have no name, by their names."""
    return tuple(n for n, name in enumerate(names) if _INDEX.fullmatch(name))


def choose(
    path: str,
    names: Sequence[str],
    label: str | int | None,
    features: Sequence[str | int] | None,
    left_out: Sequence[int] = (),
) -> tuple[int, tuple[int, ...]]:
    """Find the label's column and the inputs', each by its name or its number from 0.

    Those that are `left_out` are taken only where they are named.

    Raises:
        TrainingError: there is no such column, one is named twice, or none is left for x.
    """
    usual = [column for column in range(len(names)) if column not in left_out]
    if label is None and not usual:
        raise TrainingError(f'{path}: no column has a name; name y in "label", x in "features"')
    found = _last(path, names, usual) if label is None else _find(path, names, label)
    if features is None:
        rest = tuple(column for column in usual if column != found)
    else:
        rest = tuple(_find(path, names, feature) for feature in features)
    if not rest or len({found, *rest}) != 1 + len(rest):
        features_said = in_given_order(names[column] for column in rest) or "nothing"
        raise TrainingError(
            f"{path}: y is {names[found]!r} and x {features_said}; "
            "x needs columns of its own, each once"
        )
    return found, rest


def left_out_note(names: Sequence[str], left_out: Sequence[int], used: Sequence[int]) -> list[str]:
    """Return a note on the columns that are left out as a row index."""
    gone = [repr(names[c]) if names[c] else f"number {c}" for c in left_out if c not in used]
    if not gone:
        return []
    which = f"columns {', '.join(gone)} are" if len(gone) > 1 else f"column {gone[0]} is"
    return [f'{which} left out: a row index, or without a name ("features" can name it)']


def _last(path: str, names: Sequence[str], usual: Sequence[int]) -> int:
    """Return the last column, as y; raise TrainingError if another has a usual name of y."""
    last = usual[-1]
    called = [c for c in usual if names[c].strip().lower() in _LABELS]
    if called and last not in called:
        raise TrainingError(
            f"{path}: y would be the last column, {names[last]!r}, and there is a column "
            f'{names[called[0]]!r}; set "label" to the name of the one that y is'
        )
    return last


def _find(path: str, names: Sequence[str], wanted: str | int) -> int:
    if isinstance(wanted, str) and wanted in names:
        return list(names).index(wanted)
    if type(wanted) is int and -len(names) <= wanted < len(names):
        return wanted % len(names)
    raise TrainingError(f"{path}: no column {wanted!r}; it has {in_given_order(names)}")
