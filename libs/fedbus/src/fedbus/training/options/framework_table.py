"""Table of the built-in frameworks: the packages that each needs, and its capabilities. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from fedbus.training.options import keras_options, tflite_options, torch_options
from fedbus.training.options.domains import ArgumentDomains

ConflictCheck = Callable[[str, Mapping[str, object]], tuple[str, str] | None]


def _never(_optimizer: str, _args: Mapping[str, object]) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """A framework with a built-in trainer; capabilities have the job file's names.

    Attributes:
        extra: The extra of `fedbus` that installs it.
        packages: Import names of its packages, one of which it needs. Their distributions have the
            same names.
        also_in: Import names of other frameworks' packages that contain it.
        suffix: Suffix of the model files that `fedbus models pull` writes for it.
        models: Models that need no plug-in.
        warms_up: Whether a job may ask for a warm-up of the learning rate.
        conflicting_args: Returns an argument of an optimizer that contradicts another, and why.
    """

    extra: str
    packages: tuple[str, ...]
    also_in: tuple[str, ...] = ()
    suffix: str
    optimizers: Mapping[str, ArgumentDomains]
    schedulers: Mapping[str, ArgumentDomains]
    losses: frozenset[str]
    metrics: frozenset[str]
    models: frozenset[str] = frozenset()
    warms_up: bool = False
    conflicting_args: ConflictCheck = _never

    @property
    def providers(self) -> tuple[str, ...]:
        """Import names of all packages that contain the framework; it needs one of them."""
        return self.packages + self.also_in


FRAMEWORKS: Final[Mapping[str, Framework]] = {
    "torch": Framework(
        extra="torch",
        packages=("torch",),
        suffix=".pt",
        optimizers=torch_options.OPTIMIZERS,
        schedulers=torch_options.SCHEDULERS,
        losses=torch_options.LOSSES,
        metrics=torch_options.METRICS,
        models=torch_options.MODELS,
        warms_up=True,
        conflicting_args=torch_options.conflicting_args,
    ),
    "keras": Framework(
        extra="tensorflow",
        packages=("tensorflow",),
        suffix=".keras",
        optimizers=keras_options.OPTIMIZERS,
        schedulers=keras_options.SCHEDULERS,
        losses=keras_options.LOSSES,
        metrics=keras_options.METRICS,
        models=keras_options.MODELS,
        conflicting_args=keras_options.conflicting_args,
    ),
    "tflite": Framework(
        extra="tflite",
        packages=("tflite_runtime", "ai_edge_litert"),
        also_in=("tensorflow",),
        suffix=".tflite",
        optimizers=tflite_options.OPTIMIZERS,
        schedulers=tflite_options.SCHEDULERS,
        losses=tflite_options.LOSSES,
        metrics=tflite_options.METRICS,
    ),
}
"""By the trainer's name, which is also that of an architecture in a model spec."""

LIGHTEST_FIRST: Final = ("tflite", "torch", "keras")
"""The frameworks in the order of the memory that importing them takes."""


def is_optimizer(name: str) -> bool:
    """Return whether a framework has an optimizer of this name."""
    return any(name in framework.optimizers for framework in FRAMEWORKS.values())


def extra_of(module: str) -> str | None:
    """Return the extra of `fedbus` that installs a top-level module, or None."""
    return next(
        (has.extra for name, has in FRAMEWORKS.items() if module in {name, *has.packages}), None
    )
