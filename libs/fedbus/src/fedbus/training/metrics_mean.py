"""Example-weighted mean of metrics, cut to what a message holds. Pure."""

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Protocol

from fedbus.limits import MAX_IDENT_CHARACTERS, MAX_METRICS
from fedbus.training.options import clip_fraction


class Measured(Protocol):
    """Metrics, and how many examples they were measured on."""

    @property
    def examples(self) -> int:
        """Number of examples."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Metrics by name."""


def mean_metrics(measured: Sequence[Measured]) -> dict[str, float]:
    """Return the mean of each metric over those who measured it, weighted by their examples.

    A metric without examples is left out, and so is a mean that no float holds. A share stays
    between 0 and 1, whatever rounding adds to it.
    """
    means: dict[str, float] = {}
    for name in dict.fromkeys(name for each in measured for name in each.metrics):
        having = [each for each in measured if name in each.metrics]
        examples = sum(each.examples for each in having)
        # Shares, not sums: a figure near the largest float must not become infinite.
        parts = [each.metrics[name] * (each.examples / max(1, examples)) for each in having]
        if examples and math.isfinite(mean := sum(parts)):
            means[name] = clip_fraction(name, mean)
    return means


def sendable(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the first metrics that a message holds, without those whose names are too long."""
    short = ((name, value) for name, value in metrics.items() if len(name) <= MAX_IDENT_CHARACTERS)
    return dict(islice(short, MAX_METRICS))
