"""Kinds of metrics: fractions, training metrics, and whether lower or higher is better."""

import math
from collections.abc import Mapping
from typing import Final

from fedbus.number_text import format_against
from fedbus.training.options.framework_table import FRAMEWORKS

FRACTIONS: Final = frozenset({
    "accuracy", "binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy",
    "top_k_categorical_accuracy", "sparse_top_k_categorical_accuracy", "precision", "recall", "f1",
    "auc",
})  # fmt: skip
"""Metrics that are 0 to 1, and better when higher."""

TRAINING_PREFIX: Final = "train_"
"""Prefix of metrics that agents measured on their training data."""

_TOLERANCE: Final = 1e-6
"""Rounding error allowed for a fraction."""

LOWER_IS_BETTER: Final = (
    frozenset(name for has in FRAMEWORKS.values() for name in (*has.losses, *has.metrics))
    - FRACTIONS
    - {"cosine_similarity"}
)
"""Metrics that are better when lower, 0 at best; for metrics of plug-ins it is unknown."""

REGRESSIONS: Final = frozenset({
    "mean_squared_error", "mse", "mean_absolute_error", "mae", "l1", "smooth_l1", "huber",
    "mean_absolute_percentage_error", "mape", "mean_squared_logarithmic_error", "msle", "log_cosh",
    "cosine_similarity", "poisson", "kl_divergence",
})  # fmt: skip
"""Losses of models without classes: accuracy is not measured unless a job asks for it."""

QUANTITIES: Final = REGRESSIONS - {"kl_divergence"}
"""Losses of quantities: no prediction is correct or wrong, so there is no accuracy."""


def as_training_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Prefix the names of training metrics: `train_accuracy`."""
    return {
        name if name.startswith(TRAINING_PREFIX) else f"{TRAINING_PREFIX}{name}": value
        for name, value in metrics.items()
    }


def without_training_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics measured on held-out data."""
    return {name: value for name, value in metrics.items() if not name.startswith(TRAINING_PREFIX)}


def is_fraction(name: str) -> bool:
    """Return whether a metric lies between 0 and 1; also for the metrics of training."""
    return name.removeprefix(TRAINING_PREFIX) in FRACTIONS


def impossible_metric(metrics: Mapping[str, float]) -> str:
    """Return which metric is not finite, or a fraction outside 0 to 1; empty if none is."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            return f"{name} is {value}, not a finite number"
        if is_fraction(name) and not -_TOLERANCE <= value <= 1 + _TOLERANCE:
            shown = format_against(value, 1 if value > 1 else 0)
            return f"{name}: expected a fraction, 0 to 1, got {shown}"
    return ""


def clip_fraction(name: str, value: float) -> float:
    """Limit a fraction to 0 to 1, which rounding may exceed; return other metrics unchanged."""
    return min(1.0, max(0.0, value)) if is_fraction(name) else value
