"""Options of PyTorch 2: arguments of optimizers and schedulers, losses and metrics. Pure: no torch.

`capturable`, `differentiable` and `fused` are left out: they choose an implementation and do not
change the result.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from fedbus.training.options.domains import (
    COUNT,
    FLAG,
    FRACTION,
    NOT_NEGATIVE,
    PAIR_OF_DECAYS,
    POSITIVE,
    POSITIVE_COUNT,
    REAL,
    WORD,
    ArgumentDomains,
    Domain,
    one_of,
)

_EACH: Final[ArgumentDomains] = {"foreach": FLAG, "maximize": FLAG}
_DECAYED: Final[ArgumentDomains] = {"eps": NOT_NEGATIVE, "weight_decay": NOT_NEGATIVE}
_ADAM: Final[ArgumentDomains] = {"betas": PAIR_OF_DECAYS, **_DECAYED, "amsgrad": FLAG, **_EACH}
_BETAS: Final[ArgumentDomains] = {"betas": PAIR_OF_DECAYS, **_DECAYED, **_EACH}

OPTIMIZERS: Final[Mapping[str, ArgumentDomains]] = {
    "adadelta": {"rho": FRACTION, **_DECAYED, **_EACH},
    "adagrad": {
        "lr_decay": NOT_NEGATIVE, **_DECAYED, "initial_accumulator_value": NOT_NEGATIVE, **_EACH,
    },
    "adam": _ADAM,
    "adamw": _ADAM,
    "sparseadam": {"betas": PAIR_OF_DECAYS, "eps": POSITIVE, "maximize": FLAG},
    "adamax": _BETAS,
    "asgd": {"lambd": REAL, "alpha": REAL, "t0": REAL, "weight_decay": NOT_NEGATIVE, **_EACH},
    "lbfgs": {
        "max_iter": Domain(kind="whole", least=1, most=10_000),
        "max_eval": Domain(kind="whole", least=1, most=100_000),
        "tolerance_grad": NOT_NEGATIVE,
        "tolerance_change": NOT_NEGATIVE,
        "history_size": Domain(kind="whole", least=1, most=1000),  # gradients held in memory
        "line_search_fn": one_of("strong_wolfe"),
    },
    "nadam": {**_BETAS, "momentum_decay": NOT_NEGATIVE},
    "radam": _BETAS,
    "rmsprop": {
        "alpha": NOT_NEGATIVE, **_DECAYED, "momentum": NOT_NEGATIVE, "centered": FLAG, **_EACH,
    },
    "rprop": {
        "etas": Domain(
            kind="reals",
            each=(Domain(kind="real", above=0, below=1), Domain(kind="real", above=1)),
        ),
        "step_sizes": Domain(kind="reals", each=(POSITIVE, POSITIVE)),
        **_EACH,
    },
    "sgd": {
        "momentum": NOT_NEGATIVE, "dampening": REAL, "nesterov": FLAG,
        "weight_decay": NOT_NEGATIVE, **_EACH,
    },
}  # fmt: skip

CYCLED: Final = frozenset(
    {"adam", "adamax", "adamw", "nadam", "radam", "rmsprop", "sgd", "sparseadam"}
)
"""Optimizers with a momentum or a first beta, which schedulers can cycle."""

_LAST: Final[ArgumentDomains] = {"last_epoch": Domain(kind="whole", least=-1)}
_MOMENTA: Final[ArgumentDomains] = {
    "cycle_momentum": FLAG, "base_momentum": FRACTION, "max_momentum": FRACTION,
}  # fmt: skip


def _must(domain: Domain) -> Domain:
    return replace(domain, required=True)


LAMBDAS: Final[Mapping[str, ArgumentDomains]] = {
    "constant": {"factor": _must(POSITIVE)},
    "exponential": {"gamma": _must(POSITIVE)},
    "step": {"gamma": _must(POSITIVE), "step_size": _must(POSITIVE_COUNT)},
    "inverse": {"decay": _must(NOT_NEGATIVE)},
    "linear": {
        "start_factor": _must(NOT_NEGATIVE),
        "end_factor": NOT_NEGATIVE,
        "total_iters": _must(POSITIVE_COUNT),
    },
    "polynomial": {"power": _must(POSITIVE), "total_iters": _must(POSITIVE_COUNT)},
    "cosine": {"total_iters": _must(POSITIVE_COUNT)},
}
"""Functions that `lr_lambda` may name, with the parameters that each takes next to it."""

_LAMBDA: Final[ArgumentDomains] = {"lr_lambda": one_of(*LAMBDAS, required=True), **_LAST}
_MILESTONES: Final = Domain(kind="wholes", least=0, required=True)

SCHEDULERS: Final[Mapping[str, ArgumentDomains]] = {
    "lambdalr": _LAMBDA,
    "multiplicativelr": _LAMBDA,
    "steplr": {"step_size": _must(POSITIVE_COUNT), "gamma": POSITIVE, **_LAST},
    "multisteplr": {"milestones": _MILESTONES, "gamma": POSITIVE, **_LAST},
    "constantlr": {"factor": FRACTION, "total_iters": COUNT, **_LAST},
    "linearlr": {
        "start_factor": Domain(kind="real", above=0, most=1),
        "end_factor": FRACTION,
        "total_iters": POSITIVE_COUNT,
        **_LAST,
    },
    "exponentiallr": {"gamma": _must(POSITIVE), **_LAST},
    "cosineannealinglr": {"T_max": _must(POSITIVE_COUNT), "eta_min": NOT_NEGATIVE, **_LAST},
    "chainedscheduler": {},
    "sequentiallr": {"milestones": _MILESTONES},
    "reducelronplateau": {
        "monitor": WORD,
        "mode": one_of("min", "max"),
        "factor": Domain(kind="real", least=0, below=1),
        "patience": COUNT,
        "threshold": NOT_NEGATIVE,
        "threshold_mode": one_of("rel", "abs"),
        "cooldown": COUNT,
        "min_lr": NOT_NEGATIVE,
        "eps": NOT_NEGATIVE,
    },
    "cycliclr": {
        "base_lr": _must(POSITIVE),
        "max_lr": _must(POSITIVE),
        "step_size_up": POSITIVE_COUNT,
        "step_size_down": POSITIVE_COUNT,
        "mode": one_of("triangular", "triangular2", "exp_range"),
        "gamma": POSITIVE,
        **_MOMENTA,
        **_LAST,
    },
    "onecyclelr": {
        "max_lr": _must(POSITIVE),
        "total_steps": POSITIVE_COUNT,
        "epochs": POSITIVE_COUNT,
        "steps_per_epoch": POSITIVE_COUNT,
        "pct_start": FRACTION,
        "anneal_strategy": one_of("cos", "linear"),
        "div_factor": POSITIVE,
        "final_div_factor": POSITIVE,
        "three_phase": FLAG,
        **_MOMENTA,
    },
    "cosineannealingwarmrestarts": {
        "T_0": _must(POSITIVE_COUNT), "T_mult": POSITIVE_COUNT, "eta_min": NOT_NEGATIVE, **_LAST,
    },
}  # fmt: skip

MADE_OF_PARTS: Final = frozenset({"chainedscheduler", "sequentiallr"})
"""Schedulers that are made of other ones, given under `schedulers`."""

BY_STEP: Final = frozenset({"cycliclr", "onecyclelr"})
"""Schedulers that step after each batch; the others step after each epoch."""

MODELS: Final = frozenset({"bag_of_words", "mlp"})

LOSSES: Final = frozenset({
    "categorical_crossentropy", "sparse_categorical_crossentropy", "cross_entropy",
    "binary_crossentropy", "mean_squared_error", "mse", "mean_absolute_error", "mae", "l1",
    "smooth_l1", "huber", "kl_divergence", "poisson",
})  # fmt: skip

METRICS: Final = frozenset({
    "loss", "accuracy", "categorical_accuracy", "sparse_categorical_accuracy", "binary_accuracy",
    "top_k_categorical_accuracy", "sparse_top_k_categorical_accuracy", "precision", "recall", "f1",
    "mean_squared_error", "mse", "root_mean_squared_error", "rmse", "mean_absolute_error", "mae",
})  # fmt: skip


def conflicting_args(optimizer: str, args: Mapping[str, object]) -> tuple[str, str] | None:
    """Return an argument of an optimizer that contradicts another, and why."""
    heavy = args.get("momentum") and not args.get("dampening")
    if optimizer == "sgd" and args.get("nesterov") is True and not heavy:
        return "nesterov", "needs a momentum above 0 and no dampening"
    return None
