"""What a metric is: a share or not, of training or of held-out data, and which way it is better."""

import math
from collections.abc import Mapping
from typing import Final

from fedbus.rounding import format_against
from fedbus.training.options.framework_table import FRAMEWORKS

FRACTIONS: Final = frozenset({
    "accuracy", "binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy",
    "top_k_categorical_accuracy", "sparse_top_k_categorical_accuracy", "precision", "recall", "f1",
    "auc",
})  # fmt: skip
"""Metrics that are 0 to 1, and better when higher."""

TRAINING_PREFIX: Final = "train_"
"""What the names of figures begin with that agents measured on the data they trained on."""

_NEARLY: Final = 1e-6
"""What sums of floats may add to a share."""

LOWER_IS_BETTER: Final = (
    frozenset(name for has in FRAMEWORKS.values() for name in (*has.losses, *has.metrics))
    - FRACTIONS
    - {"cosine_similarity"}
)
"""Metrics that are better when lower, 0 at best; of others nobody here knows it."""

REGRESSIONS: Final = frozenset({
    "mean_squared_error", "mse", "mean_absolute_error", "mae", "l1", "smooth_l1", "huber",
    "mean_absolute_percentage_error", "mape", "mean_squared_logarithmic_error", "msle", "log_cosh",
    "cosine_similarity", "poisson", "kl_divergence",
})  # fmt: skip
"""Losses of models whose answers are no classes: of them no accuracy is measured unless asked."""

QUANTITIES: Final = REGRESSIONS - {"kl_divergence"}
"""Losses of quantities alone: no share of right answers can be measured of them."""


def as_training_metrics(figures: Mapping[str, float]) -> dict[str, float]:
    """Name figures of training for what they are: `train_accuracy`."""
    return {
        name if name.startswith(TRAINING_PREFIX) else f"{TRAINING_PREFIX}{name}": value
        for name, value in figures.items()
    }


def without_training_metrics(figures: Mapping[str, float]) -> dict[str, float]:
    """Leave out the figures of training."""
    return {name: value for name, value in figures.items() if not name.startswith(TRAINING_PREFIX)}


def is_fraction(name: str) -> bool:
    """Tell whether a metric lies between 0 and 1, whatever data it was measured on."""
    return name.removeprefix(TRAINING_PREFIX) in FRACTIONS


def impossible_metric(figures: Mapping[str, float]) -> str:
    """Say which figure cannot be true: a share outside 0 to 1, or no number; empty: all can."""
    for name, value in figures.items():
        if not math.isfinite(value):
            return f"{name} is {value}, no finite number"
        if is_fraction(name) and not -_NEARLY <= value <= 1 + _NEARLY:
            told = format_against(value, 1 if value > 1 else 0)
            return f"{name} is {told}, and it is a share: 0 to 1"
    return ""


def clip_fraction(name: str, value: float) -> float:
    """Take off a share what rounding has added to it."""
    return min(1.0, max(0.0, value)) if is_fraction(name) else value
