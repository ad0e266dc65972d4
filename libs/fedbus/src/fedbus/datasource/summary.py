"""What a data set holds: its format, classes, ranges and remarks, for `fedbus data describe`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedbus.data.dataset import Dataset
from fedbus.data.format import Format, format_of
from fedbus.datasource.pipeline import Pipeline, Step
from fedbus.model.layout import Array

Span = tuple[float, float]
"""The least number and the greatest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What was found in all rows of a data set.

    Attributes:
        forms: The format as loaded, and after each of the `steps`.
        classes: Rows by class number, with those of named classes that have none; None: y is none.
        x_given: The range of the inputs as loaded.
        x_made: The same after all steps.
    """

    rows: int
    forms: Sequence[Format]
    steps: Sequence[str]
    classes: Mapping[str, int] | None
    class_names: Sequence[str]
    columns: Sequence[str]
    missing: Mapping[str, int]
    notes: Sequence[str]
    x_given: Span
    x_made: Span
    y: Span

    def plain(self) -> dict[str, Any]:
        """Write it for programs."""
        return {
            "examples": self.rows,
            "format": self.forms[-1].plain(),
            "classes": self.classes,
            "class_names": list(self.class_names),
            "columns": list(self.columns),
            "range": {"x": list(self.x_given), "x_out": list(self.x_made), "y": list(self.y)},
            "missing": dict(self.missing),
            "notes": list(self.notes),
        }


def summary_of(data: Dataset, steps: Sequence[Step]) -> Summary:
    """Read all rows, through a pipeline, and gather what they hold.

    Raises:
        FedbusError: a number cannot be read, or a step fails; names the place.
    """
    pipeline = Pipeline(steps, format_of(data))
    chance = np.random.default_rng(0)
    spans: list[list[Span]] = []
    labels: Counter[int] = Counter()
    rows = 0
    classed = True
    for x, y in data.peek():
        made, truths = pipeline.change((x, y), chance)
        rows += len(x)
        spans.append([_span(x), _span(made), _span(truths)])
        classed = classed and truths.ndim == 1 and truths.dtype.kind in "iu"
        if classed:
            found, counts = np.unique(truths, return_counts=True)
            labels.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
    names = pipeline.output.y.classes
    every = sorted({*labels, *range(len(names))})
    x_given, x_made, y_span = (
        (min(low for low, _ in each), max(high for _, high in each))
        for each in zip(*spans, strict=True)
    )
    return Summary(
        rows=rows,
        forms=pipeline.forms,
        steps=[step.name for step in pipeline.steps],
        classes={str(label): labels[label] for label in every} if classed else None,
        class_names=names,
        columns=data.info.columns,
        missing=data.info.missing,
        notes=data.info.notes,
        x_given=x_given,
        x_made=x_made,
        y=y_span,
    )


def _span(rows: Array) -> Span:
    return (float(rows.min()), float(rows.max())) if rows.size else (0.0, 0.0)
