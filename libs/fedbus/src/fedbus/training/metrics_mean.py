"""Example-weighted mean of metrics, cut to what a message holds. Pure."""

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Protocol

from fedbus.limits import MAX_IDENT_CHARACTERS, MAX_METRICS
from fedbus.training.options import clip_fraction


class Measured(Protocol):
    """Metrics, and the number of examples they were measured on."""

    @property
    def examples(self) -> int:
        """Number of examples."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Metrics by name."""


def mean_metrics(measured: Sequence[Measured]) -> dict[str, float]:
    """Compute the mean of each metric over all that measured it, weighted by their examples.

    A metric measured on no examples is left out, and so is a mean that is not finite. A metric that
    is a fraction stays between 0 and 1 despite rounding.
    """
    means: dict[str, float] = {}
    for name in dict.fromkeys(name for each in measured for name in each.metrics):
        having = [each for each in measured if name in each.metrics]
        examples = sum(each.examples for each in having)
        # Weights sum to 1 beforehand: values near the largest float must not become infinite.
        parts = [each.metrics[name] * (each.examples / max(1, examples)) for each in having]
        if examples and math.isfinite(mean := sum(parts)):
            means[name] = clip_fraction(name, mean)
    return means


def sendable(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return at most `MAX_METRICS` metrics, without those whose names are too long to be sent."""
    short = ((name, value) for name, value in metrics.items() if len(name) <= MAX_IDENT_CHARACTERS)
    return dict(islice(short, MAX_METRICS))
