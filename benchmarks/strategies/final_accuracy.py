"""Accuracy of several runs that differ by their seeds: its mean, its spread, and as JSON. Pure."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any


class FinalAccuracy:
    """Base of a measured line, a dataclass with the field `final`: an accuracy for each seed."""

    __slots__ = ()

    final: Sequence[float]

    @property
    def mean(self) -> float:
        """The mean final accuracy over the seeds."""
        return fmean(self.final)

    @property
    def spread(self) -> float:
        """The standard deviation of the final accuracy over the seeds."""
        return stdev(self.final)


def rounded(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line's fields, its accuracies rounded to what JSON holds.

    Args:
        line: All fields; `final` and `curve`, the mean accuracy after each round, are rounded.
    """
    return {
        **line,
        "final": [round(each, 4) for each in line["final"]],
        "curve": [round(each, 3) for each in line["curve"]],
    }
