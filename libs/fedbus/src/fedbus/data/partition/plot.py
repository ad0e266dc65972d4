"""How uneven a split is: in numbers, and as a picture (`pip install "fedbus[plot]"`)."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedbus.data.partition.row_assignment import Rows
from fedbus.errors import PluginError, TrainingError
from fedbus.model.layout import Array
from fedbus.text import listed

Counts = NDArray[np.int64]
"""(agents, classes): an agent's rows of each class."""

SUFFIXES: Final = frozenset({".pdf", ".png", ".svg"})
MAX_DRAWN_CLASSES: Final = 100
"""More have one colour: nobody could tell them apart."""
_NAMED = 40
_LEGEND = 20


def count(labels: Array, partitions: Sequence[Rows]) -> tuple[list[int], Counts]:
    """Count each agent's rows of each class; returns (classes, (agents, classes))."""
    classes, which = np.unique(labels, return_inverse=True)
    table = np.stack(
        [np.bincount(which[partition], minlength=len(classes)) for partition in partitions]
    )
    return classes.tolist(), table


def unevenness(table: Counts) -> float:
    """Say how far an agent's classes are from those of all, in the mean: 0 is even, near 1 is not.

    That is the total variation distance: the share of its rows that would have to be of another
    class.
    """
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    of_all = table.sum(axis=0) / max(1, table.sum())
    return float((np.abs(shares - of_all).sum(axis=1) / 2).mean())


def check_plot_file(file: Path, made: Path | None = None) -> None:
    """Refuse a picture that could not be drawn, before anything else is done.

    `made` is a folder that will be there by then.

    Raises:
        TrainingError: its suffix is none we draw, a folder is there, or its folder is not.
        PluginError: matplotlib is not installed.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise TrainingError(f"{file}: a picture is {listed(SUFFIXES)}")
    if file.is_dir():
        raise TrainingError(f"{file}: a folder is there; a picture is a file")
    if not file.parent.is_dir() and (made is None or file.parent.resolve() != made.resolve()):
        raise TrainingError(f"{file}: there is no folder {file.parent}; make it first")
    try:
        import matplotlib.figure  # noqa: F401, PLC0415 - only where a picture is drawn
    except ImportError as error:
        raise PluginError('matplotlib draws it; pip install "fedbus[plot]"') from error


def draw(
    form: str, title: str, names: Sequence[str], classes: Sequence[str], table: Counts
) -> bytes:
    """Draw a bar for each agent, as long as it has rows, in a colour for each class.

    `form` is one of `SUFFIXES`; returned is the content of such a file.
    """
    from matplotlib import colormaps, rc_context  # noqa: PLC0415 - only where a picture is drawn
    from matplotlib.figure import Figure  # noqa: PLC0415

    if len(classes) > MAX_DRAWN_CLASSES:
        classes, table = [], table.sum(axis=1, keepdims=True)
    height = min(40.0, 1.6 + 0.22 * max(6, len(names)))
    figure = Figure(figsize=(9, height), layout="constrained")
    axes = figure.add_subplot()
    colours = colormaps["tab10" if len(classes) <= 10 else "nipy_spectral"]  # noqa: PLR2004
    places, left = np.arange(len(names)), np.zeros(len(names))
    for number, column in enumerate(table.T):
        share = number if len(classes) <= 10 else number / max(1, len(classes) - 1)  # noqa: PLR2004
        label = classes[number] if classes else None
        axes.barh(places, column, left=left, height=0.85, color=colours(share), label=label)
        left += column
    axes.invert_yaxis()
    axes.set_title(title)
    axes.set_xlabel("rows")
    axes.set_yticks(places[:: max(1, len(names) // _NAMED)])
    axes.set_yticklabels(list(names)[:: max(1, len(names) // _NAMED)])
    if classes and len(classes) <= _LEGEND:
        axes.legend(title="class", loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")
    # Without a date and random names, so that the same split makes the same bytes.
    dated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    content = io.BytesIO()
    with rc_context({"svg.hashsalt": "fedbus"}):
        figure.savefig(content, format=form[1:], dpi=120, metadata=dated.get(form))
    return content.getvalue()
