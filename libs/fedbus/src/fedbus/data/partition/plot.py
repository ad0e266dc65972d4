"""Heterogeneity of partitions: class counts, a measure, a plot (`pip install "fedbus[plot]"`)."""

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
"""With more classes a bar has one colour: the colours could not be distinguished."""
_MAX_TICK_LABELS = 40
_MAX_LEGEND_CLASSES = 20


def count(labels: Array, partitions: Sequence[Rows]) -> tuple[list[int], Counts]:
    """Count each agent's rows of each class; return the classes and the table of counts."""
    classes, which = np.unique(labels, return_inverse=True)
    table = np.stack(
        [np.bincount(which[partition], minlength=len(classes)) for partition in partitions]
    )
    return classes.tolist(), table


def unevenness(table: Counts) -> float:
    """Return the mean total variation distance of agents' class distributions to that of all rows.

    0: all agents have the same distribution; near 1: almost disjoint classes.
    """
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    of_all = table.sum(axis=0) / max(1, table.sum())
    return float((np.abs(shares - of_all).sum(axis=1) / 2).mean())


def check_plot_file(file: Path, made: Path | None = None) -> None:
    """Reject a plot file that could not be written, before any work is done.

    `made` is a folder that will be created before the plot.

    Raises:
        TrainingError: the suffix is unknown, the path is a folder, or its folder does not exist.
        PluginError: matplotlib is not installed.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise TrainingError(f"{file}: expected the suffix {listed(SUFFIXES)}")
    if file.is_dir():
        raise TrainingError(f"{file}: expected a file, found a folder")
    if not file.parent.is_dir() and (made is None or file.parent.resolve() != made.resolve()):
        raise TrainingError(f"{file}: the folder {file.parent} does not exist; create it first")
    try:
        import matplotlib.figure  # noqa: F401, PLC0415 - only for plots
    except ImportError as error:
        raise PluginError('plots need matplotlib: pip install "fedbus[plot]"') from error


def draw(
    suffix: str, title: str, names: Sequence[str], classes: Sequence[str], table: Counts
) -> bytes:
    """Draw a stacked bar for each agent: its rows, in a colour for each class.

    `suffix` is one of `SUFFIXES`; return the content of such a file.
    """
    from matplotlib import colormaps, rc_context  # noqa: PLC0415 - only for plots
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
    axes.set_yticks(places[:: max(1, len(names) // _MAX_TICK_LABELS)])
    axes.set_yticklabels(list(names)[:: max(1, len(names) // _MAX_TICK_LABELS)])
    if classes and len(classes) <= _MAX_LEGEND_CLASSES:
        axes.legend(title="class", loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")
    # Without a date and random names, so that the same partitions make the same bytes.
    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    content = io.BytesIO()
    with rc_context({"svg.hashsalt": "fedbus"}):
        figure.savefig(content, format=suffix[1:], dpi=120, metadata=undated.get(suffix))
    return content.getvalue()
