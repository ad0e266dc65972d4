"""Accuracy of a mechanism at an ε: its parameters chosen, then measured over several seeds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from statistics import fmean
from typing import Any, Final

from benchmarks.privacy.private_examples import ExampleSetting, PrivateExamples, example_noise
from benchmarks.privacy.private_rounds import PrivateRounds, with_epsilon
from benchmarks.privacy.private_settings import PrivateCandidate, PrivateMechanism, PrivateSetting
from benchmarks.strategies.final_accuracy import FinalAccuracy, rounded

SEEDS: Final = (0, 1, 2)
TUNING_SEED: Final = 100
LAST_ROUNDS: Final = 5
EPSILONS: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
RATES: Final = (0.1, 0.3, 1.0)
NORMS: Final = (0.1, 0.3, 1.0, 3.0)

SETTINGS: Final[Mapping[str, PrivateSetting]] = {
    "digits": PrivateSetting(data="digits", widths=(64, 32, 10), agents=280, cohort=70, rounds=40),
    "mnist1d": PrivateSetting(
        data="mnist1d", widths=(40, 64, 10), agents=800, cohort=200, rounds=40
    ),
}
EXAMPLES: Final[Mapping[str, ExampleSetting]] = {
    "digits": ExampleSetting(data="digits", widths=(64, 32, 10)),
}
MECHANISMS: Final[Mapping[str, PrivateMechanism]] = {
    "dp-fixed, Poisson": PrivateMechanism(key="dp-fixed", poisson=True),
    "dp-adaptive, Poisson": PrivateMechanism(key="dp-adaptive", poisson=True),
    "dp-banded": PrivateMechanism(key="dp-banded"),
    "dp-fixed, fixed cohorts": PrivateMechanism(key="dp-fixed"),
}
NO_PRIVACY: Final = "no privacy"
DP_SGD: Final = "dp-sgd"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyCost(FinalAccuracy):
    """What a mechanism reaches at an ε.

    Attributes:
        data: The name of the setting.
        epsilon: What was asked for; None without privacy.
        spent: The ε that the ledger adds up to, the greatest of all seeds.
        final: The accuracy at the end, for each seed: the mean of the last rounds.
        curve: The mean accuracy after each round.
    """

    data: str
    mechanism: str
    epsilon: float | None
    spent: float | None
    noise_multiplier: float
    learning_rate: float
    clipping_norm: float
    final: Sequence[float]
    curve: Sequence[float]

    def plain(self) -> dict[str, Any]:
        """Return what JSON holds, rounded."""
        return rounded(asdict(self))


@dataclass(frozen=True, slots=True)
class CostTask:
    """One line to measure."""

    data: str
    mechanism: str
    epsilon: float | None


def cost_tasks() -> Iterator[CostTask]:
    """Yield all lines of the tables."""
    for data in SETTINGS:
        yield CostTask(data, NO_PRIVACY, None)
        for mechanism, epsilon in product(MECHANISMS, EPSILONS):
            yield CostTask(data, mechanism, epsilon)
    for data in EXAMPLES:
        yield CostTask(data, DP_SGD, None)
        for epsilon in EPSILONS:
            yield CostTask(data, DP_SGD, epsilon)


Run = Callable[[PrivateCandidate, int], tuple[list[float], float | None]]
"""Runs a job with a candidate and a seed, `TUNING_SEED` on other rows; returns accuracies and ε."""


def cost_of(task: CostTask) -> PrivacyCost:
    """Choose learning rate and clipping norm, then measure with other seeds and rows."""
    noise, run = _run_of(task)
    norms = (1.0,) if task.epsilon is None else NORMS
    candidates = [
        PrivateCandidate(learning_rate=rate, clipping_norm=norm)
        for rate, norm in product(RATES, norms)
    ]
    best = max(candidates, key=lambda each: _final(run(each, TUNING_SEED)[0]))
    runs = [run(best, seed) for seed in SEEDS]
    spent = [epsilon for _, epsilon in runs if epsilon is not None]
    return PrivacyCost(
        data=task.data,
        mechanism=task.mechanism,
        epsilon=task.epsilon,
        spent=max(spent, default=None),
        noise_multiplier=noise,
        learning_rate=best.learning_rate,
        clipping_norm=best.clipping_norm,
        final=[_final(found) for found, _ in runs],
        curve=[fmean(each) for each in zip(*(found for found, _ in runs), strict=True)],
    )


def _final(found: Sequence[float]) -> float:
    return fmean(found[-LAST_ROUNDS:])


def _run_of(task: CostTask) -> tuple[float, Run]:
    """Return the noise multiplier, and what runs the task."""
    if task.mechanism == DP_SGD:
        return _examples_run(EXAMPLES[task.data], task.epsilon)
    setting, mechanism = SETTINGS[task.data], PrivateMechanism()
    if task.epsilon is not None:
        mechanism = with_epsilon(setting, MECHANISMS[task.mechanism], task.epsilon)

    def run(candidate: PrivateCandidate, seed: int) -> tuple[list[float], float | None]:
        rounds = PrivateRounds(setting, mechanism, candidate, seed, tuning=seed == TUNING_SEED)
        return rounds.run(), rounds.epsilon()

    return mechanism.noise_multiplier if mechanism.key else 0.0, run


def _examples_run(setting: ExampleSetting, epsilon: float | None) -> tuple[float, Run]:
    noise = 0.0 if epsilon is None else example_noise(setting, epsilon)

    def run(candidate: PrivateCandidate, seed: int) -> tuple[list[float], float | None]:
        rounds = PrivateExamples(setting, noise, candidate, seed, tuning=seed == TUNING_SEED)
        return rounds.run(), rounds.epsilon()

    return noise, run
