"""The frameworks we ship trainers for, and what each of them has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from fedbus.catalogue import keras, tflite, torch
from fedbus.catalogue.argument import Takes

AtOdds = Callable[[str, Mapping[str, object]], tuple[str, str] | None]


def _never(_optimizer: str, _args: Mapping[str, object]) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """What a framework's trainer can be asked for, by the job file's names."""

    optimizers: Mapping[str, Takes]
    schedulers: Mapping[str, Takes]
    losses: frozenset[str]
    metrics: frozenset[str]
    models: frozenset[str] = frozenset()
    """Models that need no plug-in."""
    warms_up: bool = False
    at_odds: AtOdds = _never


FRAMEWORKS: Final[Mapping[str, Framework]] = {
    "torch": Framework(
        optimizers=torch.OPTIMIZERS,
        schedulers=torch.SCHEDULERS,
        losses=torch.LOSSES,
        metrics=torch.METRICS,
        models=torch.MODELS,
        warms_up=True,
        at_odds=torch.at_odds,
    ),
    "keras": Framework(
        optimizers=keras.OPTIMIZERS,
        schedulers=keras.SCHEDULERS,
        losses=keras.LOSSES,
        metrics=keras.METRICS,
        models=keras.MODELS,
        at_odds=keras.at_odds,
    ),
    "tflite": Framework(
        optimizers=tflite.OPTIMIZERS,
        schedulers=tflite.SCHEDULERS,
        losses=tflite.LOSSES,
        metrics=tflite.METRICS,
    ),
}
"""By the name of its trainer, which is that of a card's structure as well."""


def is_optimizer(name: str) -> bool:
    """Tell whether a framework has an optimizer of this name."""
    return any(name in framework.optimizers for framework in FRAMEWORKS.values())
