"""Freezing and synchronization of a job's rounds, which make its agents send less."""

from dataclasses import dataclass
from typing import Annotated, Final

from fedbus.scalars import Flag, Strict

Share = Annotated[float, Strict(gt=0, lt=1)]

FREEZING_STATE: Final = (
    "freezing_mean",
    "freezing_absolute",
    "freezing_until",
    "freezing_period",
)
"""State arrays of adaptive freezing: moving averages of the combined update and of its absolute
values, the round in which a number is no longer frozen, and how long it is frozen each time."""
SYNC_STATE: Final = ("sync_positive", "sync_negative")
"""State arrays of adaptive synchronization: moving averages of the positive and of the negative
parts of combined updates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freezing:
    """Adaptive parameter freezing (Chen et al. 2021, ICDCS).

    Attributes:
        stability_threshold: A parameter is frozen while its effective perturbation is below this.
        moving_average: Weight of the past in the moving averages of differences.
        tight_threshold: The share of frozen parameters from which the threshold is halved.
        random_freezing: Whether parameters are also frozen by chance: the later the round, the
            more of them, and the longer.
    """

    stability_threshold: Share = 0.05
    moving_average: Share = 0.99
    tight_threshold: Share = 0.8
    random_freezing: Flag = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncFrequency:
    """Adaptive synchronization (GIFT, as Plato has it): the epochs between rounds, which shrink.

    Attributes:
        epochs: Local epochs of the first rounds.
        window: Rounds without a new minimum of the consistency after which the epochs are halved.
        warm_up: Rounds before the first change.
    """

    epochs: Annotated[int, Strict(ge=1, le=100_000)] = 10
    window: Annotated[int, Strict(ge=1, le=100_000)] = 5
    warm_up: Annotated[int, Strict(ge=0, le=100_000)] = 50
