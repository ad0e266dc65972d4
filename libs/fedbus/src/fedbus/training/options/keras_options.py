"""Options of Keras 3: arguments of optimizers and callbacks, losses and metrics. Pure: no Keras."""

from collections.abc import Mapping
from typing import Final

from fedbus.training.options.domains import (
    COUNT,
    DECAY,
    FLAG,
    FRACTION,
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_COUNT,
    REAL,
    WORD,
    ArgumentDomains,
    Domain,
    one_of,
)

_ALL: Final[ArgumentDomains] = {
    "weight_decay": NOT_NEGATIVE,
    "clipnorm": POSITIVE,
    "clipvalue": POSITIVE,
    "global_clipnorm": POSITIVE,
    "use_ema": FLAG,
    "ema_momentum": FRACTION,
    "ema_overwrite_frequency": POSITIVE_COUNT,
    "jit_compile": FLAG,  # of the model in Keras 3, of the optimizer before
}
_BETAS: Final[ArgumentDomains] = {"beta_1": DECAY, "beta_2": DECAY, "epsilon": NOT_NEGATIVE}

OPTIMIZERS: Final[Mapping[str, ArgumentDomains]] = {
    "sgd": {"momentum": FRACTION, "nesterov": FLAG, **_ALL},
    "rmsprop": {
        "rho": FRACTION, "momentum": FRACTION, "epsilon": NOT_NEGATIVE, "centered": FLAG, **_ALL,
    },
    "adam": {**_BETAS, "amsgrad": FLAG, **_ALL},
    "adadelta": {"rho": FRACTION, "epsilon": NOT_NEGATIVE, **_ALL},
    "adagrad": {"initial_accumulator_value": NOT_NEGATIVE, "epsilon": NOT_NEGATIVE, **_ALL},
    "adamax": {**_BETAS, **_ALL},
    "nadam": {**_BETAS, **_ALL},
    "ftrl": {
        "learning_rate_power": Domain(kind="real", most=0),
        "initial_accumulator_value": NOT_NEGATIVE,
        "l1_regularization_strength": NOT_NEGATIVE,
        "l2_regularization_strength": NOT_NEGATIVE,
        "l2_shrinkage_regularization_strength": NOT_NEGATIVE,
        "beta": REAL,
        **_ALL,
    },
}  # fmt: skip

_MODE: Final = one_of("auto", "min", "max")

SCHEDULERS: Final[Mapping[str, ArgumentDomains]] = {
    "earlystopping": {
        "monitor": WORD,
        "min_delta": NOT_NEGATIVE,
        "patience": COUNT,
        "mode": _MODE,
        "baseline": REAL,
        "restore_best_weights": FLAG,
        "start_from_epoch": COUNT,
    },
    "reducelronplateau": {
        "monitor": WORD,
        "factor": Domain(kind="real", least=0, below=1),
        "patience": COUNT,
        "mode": _MODE,
        "min_delta": NOT_NEGATIVE,
        "cooldown": COUNT,
        "min_lr": NOT_NEGATIVE,
    },
    "terminateonnan": {},
}
"""Callbacks that a job may name as its scheduler."""

MODELS: Final = frozenset({"sequential"})

LOSSES: Final = frozenset({
    "categorical_crossentropy", "sparse_categorical_crossentropy", "binary_crossentropy",
    "binary_focal_crossentropy", "categorical_focal_crossentropy", "mean_squared_error", "mse",
    "mean_absolute_error", "mae", "mean_absolute_percentage_error", "mape",
    "mean_squared_logarithmic_error", "msle", "cosine_similarity", "huber", "log_cosh", "hinge",
    "squared_hinge", "categorical_hinge", "kl_divergence", "poisson",
})  # fmt: skip

METRICS: Final = frozenset({
    "loss", "accuracy", "binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy",
    "top_k_categorical_accuracy", "sparse_top_k_categorical_accuracy", "precision", "recall", "f1",
    "auc", "mean_squared_error", "mse", "root_mean_squared_error", "mean_absolute_error", "mae",
    "mean_absolute_percentage_error", "mape", "mean_squared_logarithmic_error", "msle",
    "cosine_similarity", "categorical_crossentropy", "sparse_categorical_crossentropy",
    "binary_crossentropy", "kl_divergence", "poisson", "hinge", "squared_hinge",
    "categorical_hinge",
})  # fmt: skip

_CLIPS: Final = ("clipnorm", "clipvalue", "global_clipnorm")


def conflicting_args(optimizer: str, args: Mapping[str, object]) -> tuple[str, str] | None:  # noqa: ARG001 - as torch
    """Return an argument of an optimizer that contradicts another, and why."""
    clips = [name for name in _CLIPS if name in args]
    return (
        (clips[1], f"given together with {clips[0]}; give one of them") if len(clips) > 1 else None
    )
