"""Measurement of an experiment: parameters chosen, then accuracies over several seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any

from benchmarks.strategies.attacks import Attack
from benchmarks.strategies.experiments import (
    SEEDS,
    TUNING_ROUNDS,
    TUNING_SEED,
    Experiment,
    candidates,
)
from benchmarks.strategies.final_accuracy import FinalAccuracy, rounded
from benchmarks.strategies.in_memory_rounds import accuracies
from benchmarks.strategies.settings import Candidate, Setting

LAST_ROUNDS = 5
"""The final accuracy is the mean over as many rounds, so that one lucky round counts little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(FinalAccuracy):
    """A strategy in a setting.

    Attributes:
        setting: The heading of the setting.
        final: The accuracy at the end, for each seed.
        rounds_to_target: Rounds until the target is reached, for each seed; None: never.
        curve: The mean accuracy after each round.
    """

    setting: str
    strategy: str
    learning_rate: float
    parameters: Mapping[str, Any] = field(default_factory=dict)
    final: Sequence[float]
    rounds_to_target: Sequence[int | None] = ()
    curve: Sequence[float]

    def plain(self) -> dict[str, Any]:
        """Return what JSON holds, rounded."""
        return rounded(asdict(self))


def tuned(setting: Setting, strategy: str, fixed: Mapping[str, Any], checked: bool) -> Candidate:  # noqa: FBT001 - a task of a process pool
    """Return the candidate whose accuracy, over all rounds and without attack, is the highest.

    It is measured on rows held out of the training data, with a seed of its own.
    """
    calm = replace(setting, attack=Attack(), rounds=min(setting.rounds, TUNING_ROUNDS))

    def score(candidate: Candidate) -> float:
        return fmean(accuracies(calm, candidate, TUNING_SEED, tuning=True, checked=checked))

    return max(candidates(strategy, fixed), key=score)


def measured(
    experiment: Experiment, heading: str, candidate: Candidate, seeds: Sequence[int] = SEEDS
) -> Measured:
    """Return what a strategy reaches in a setting of the experiment."""
    setting, target = experiment.settings[heading], experiment.target.get(heading)
    runs = [accuracies(setting, candidate, seed, checked=experiment.checked) for seed in seeds]
    reached = [] if target is None else [_first(run, target) for run in runs]
    return Measured(
        setting=heading,
        strategy=candidate.strategy,
        learning_rate=candidate.learning_rate,
        parameters=candidate.parameters,
        final=[fmean(run[-LAST_ROUNDS:]) for run in runs],
        rounds_to_target=reached,
        curve=[fmean(each) for each in zip(*runs, strict=True)],
    )


def _first(run: Sequence[float], target: float) -> int | None:
    return next((number for number, each in enumerate(run, 1) if each >= target), None)
