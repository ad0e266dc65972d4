"""Summary of a data set: format, classes, ranges and notes, for `fedbus data describe`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedbus.data.dataset import Dataset
from fedbus.data.format import Format, format_of
from fedbus.datasource.pipeline import Pipeline, PipelineStep
from fedbus.model.layout import Array

ValueRange = tuple[float, float]
"""Minimum and maximum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Summary of all rows of a data set.

    Attributes:
        formats: The format as loaded, and after each of the `steps`.
        classes: Rows by class number, 0 for named classes without rows; None: y holds no classes.
        x_loaded: Range of the inputs as loaded.
        x_output: Range of the inputs after all steps.
    """

    rows: int
    formats: Sequence[Format]
    steps: Sequence[str]
    classes: Mapping[str, int] | None
    class_names: Sequence[str]
    columns: Sequence[str]
    missing: Mapping[str, int]
    notes: Sequence[str]
    x_loaded: ValueRange
    x_output: ValueRange
    y: ValueRange

    def plain(self) -> dict[str, Any]:
        """Return the summary as JSON values."""
        return {
            "examples": self.rows,
            "format": self.formats[-1].plain(),
            "classes": self.classes,
            "class_names": list(self.class_names),
            "columns": list(self.columns),
            "range": {"x": list(self.x_loaded), "x_out": list(self.x_output), "y": list(self.y)},
            "missing": dict(self.missing),
            "notes": list(self.notes),
        }


def summary_of(data: Dataset, steps: Sequence[PipelineStep]) -> Summary:
    """Read all rows through a pipeline, and summarize them.

    Raises:
        FedbusError: a number cannot be read, or a step fails; the message says where.
    """
    pipeline = Pipeline(steps, format_of(data))
    rng = np.random.default_rng(0)
    ranges: list[list[ValueRange]] = []
    labels: Counter[int] = Counter()
    rows = 0
    classed = True
    for x, y in data.peek():
        out, targets = pipeline.apply((x, y), rng)
        rows += len(x)
        ranges.append([_range_of(x), _range_of(out), _range_of(targets)])
        classed = classed and targets.ndim == 1 and targets.dtype.kind in "iu"
        if classed:
            found, counts = np.unique(targets, return_counts=True)
            labels.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
    names = pipeline.output.y.classes
    every = sorted({*labels, *range(len(names))})
    x_loaded, x_output, y_range = (
        (min(low for low, _ in each), max(high for _, high in each))
        for each in zip(*ranges, strict=True)
    )
    return Summary(
        rows=rows,
        formats=pipeline.formats,
        steps=[step.name for step in pipeline.steps],
        classes={str(label): labels[label] for label in every} if classed else None,
        class_names=names,
        columns=data.info.columns,
        missing=data.info.missing,
        notes=data.info.notes,
        x_loaded=x_loaded,
        x_output=x_output,
        y=y_range,
    )


def _range_of(rows: Array) -> ValueRange:
    return (float(rows.min()), float(rows.max())) if rows.size else (0.0, 0.0)
