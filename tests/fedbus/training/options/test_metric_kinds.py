"""Kinds of metrics: fractions, training metrics, and impossible values."""

import math

import pytest

from fedbus.training.options import (
    FRAMEWORKS,
    as_training_metrics,
    clip_fraction,
    impossible_metric,
    is_fraction,
    without_training_metrics,
)
from fedbus.training.options.metric_kinds import FRACTIONS, QUANTITIES


def test_figures_of_training_are_told_apart_by_their_names() -> None:
    """Once only, however often they pass by."""
    trained = as_training_metrics({"accuracy": 0.9, "train_loss": 0.1})
    assert trained == {"train_accuracy": 0.9, "train_loss": 0.1}
    assert without_training_metrics({**trained, "accuracy": 0.8}) == {"accuracy": 0.8}


@pytest.mark.parametrize("name", ["accuracy", "train_accuracy", "f1", "auc", "train_recall"])
def test_a_share_beyond_0_to_1_cannot_be_true(name: str) -> None:
    """Whatever data it is of; rounding may add a little, which is taken off."""
    assert is_fraction(name)
    assert (
        impossible_metric({"loss": 7.0, name: 1.5})
        == f"{name}: expected a fraction, 0 to 1, got 1.5"
    )
    assert impossible_metric({name: -0.01}) == f"{name}: expected a fraction, 0 to 1, got -0.01"
    assert impossible_metric({name: 1.00001}) == f"{name}: expected a fraction, 0 to 1, got 1.00001"
    assert impossible_metric({name: 1 + 1e-9, "loss": -3.0, "mae": 9.0}) == ""
    assert (
        clip_fraction(name, 1 + 1e-9),
        clip_fraction(name, -1e-9),
        clip_fraction(name, 0.5),
    ) == (1.0, 0.0, 0.5)
    assert clip_fraction("loss", 7.0) == 7.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_figure_is_no_number(value: float) -> None:
    """Of whatever metric."""
    assert impossible_metric({"anything": value}) == f"anything is {value}, not a finite number"


def test_every_metric_of_right_answers_is_a_share() -> None:
    """A new one must be named among them, or a target of 92 would be taken for one of 0.92."""
    every = {name for framework in FRAMEWORKS.values() for name in framework.metrics}
    judged = {name for name in every if "accuracy" in name or name in {"f1", "auc"}}
    assert judged | {"precision", "recall"} == every & FRACTIONS | judged
    assert judged <= FRACTIONS
    assert QUANTITIES.isdisjoint({"kl_divergence", "categorical_crossentropy", "hinge"})
