"""Which way a metric is better."""

from typing import Final

from fedbus.catalogue.frameworks import FRAMEWORKS

SHARES: Final = frozenset({
    "accuracy", "binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy",
    "top_k_categorical_accuracy", "sparse_top_k_categorical_accuracy", "precision", "recall", "f1",
    "auc",
})  # fmt: skip
"""Metrics that are 0 to 1, and better when higher."""

LOWER_IS_BETTER: Final = (
    frozenset(name for has in FRAMEWORKS.values() for name in (*has.losses, *has.metrics))
    - SHARES
    - {"cosine_similarity"}
)
"""Metrics that are better when lower, 0 at best; of others nobody here knows it."""

REGRESSIONS: Final = frozenset({
    "mean_squared_error", "mse", "mean_absolute_error", "mae", "l1", "smooth_l1", "huber",
    "mean_absolute_percentage_error", "mape", "mean_squared_logarithmic_error", "msle", "log_cosh",
    "cosine_similarity", "poisson", "kl_divergence",
})  # fmt: skip
"""Losses of models whose answers are no classes: of them no accuracy is measured unless asked."""
