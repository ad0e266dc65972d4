"""The mean of metrics, weighted by examples."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.limits import MAX_METRICS
from fedbus.training.metrics_mean import mean_metrics, sendable


@dataclass(frozen=True)
class Measured:
    """Metrics of one agent."""

    examples: int
    metrics: Mapping[str, float]


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.integers(0, 1000)), min_size=1, max_size=6))
def test_metrics_are_averaged_by_their_examples(measured: list[tuple[float, int]]) -> None:
    """An evaluator without examples says nothing."""
    means = mean_metrics([Measured(examples, {"loss": value}) for value, examples in measured])
    total = sum(examples for _, examples in measured)
    if total:
        mean = math.fsum(value * examples for value, examples in measured) / total
        assert means["loss"] == pytest.approx(mean, rel=1e-9, abs=1e-9)
    else:
        assert means == {}


def test_a_metric_is_averaged_over_those_who_measured_it() -> None:
    """An agent whose framework does not know it does not pull it to 0."""
    both = [Measured(3, {"loss": 1.0, "auc": 0.5}), Measured(1, {"loss": 5.0})]
    assert mean_metrics(both) == {"loss": 2.0, "auc": 0.5}


def test_a_mean_beyond_the_largest_float_is_left_out() -> None:
    """No message can hold it."""
    assert mean_metrics([Measured(1, {"loss": sys.float_info.max})] * 11) == {}


def test_a_mean_of_shares_is_a_share() -> None:
    """Rounding adds to it what no share has."""
    assert mean_metrics([Measured(3, {"accuracy": 1.0 + 1e-9})] * 2) == {"accuracy": 1.0}


def test_what_a_message_does_not_hold_is_left_out() -> None:
    """Too many metrics, or too long a name, and no peer could read the message."""
    many = {f"m{number}": 1.0 for number in range(MAX_METRICS + 1)}
    assert list(sendable({"m" * 65: 1.0, "m" * 64: 2.0})) == ["m" * 64]
    assert list(sendable(many)) == list(many)[:MAX_METRICS]
