"""The best attack on what a mechanism publishes, when all other agents' updates are known.

One agent's update is as long as the clipping norm, those of all others are zero, and the attacker
sees every version. It computes the ratio of the likelihoods with and without the agent: no attack
on the same numbers does better (Neyman and Pearson 1933), and for Gaussian noise the area below its
curve is known exactly. A mechanism with too little noise, a wrong sensitivity or noise drawn twice
shows a greater one; with too much noise it is smaller.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from math import log, sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from benchmarks.privacy.membership import AttackResult, attack_result, auc_bound, measured_epsilon
from benchmarks.privacy.private_rounds import strategy_of, with_epsilon
from benchmarks.privacy.private_settings import (
    DELTA,
    PrivateCandidate,
    PrivateMechanism,
    PrivateSetting,
)
from fedbus import plugins
from fedbus.plugins import Combined, PrivateTraining, UpdateFacts
from fedbus.privacy.banded import coefficients
from fedbus.privacy.noise import KeyedNoise
from fedbus.privacy.noise_key import NoiseKey
from fedbus.privacy.secret_noise import EphemeralNoise
from fedbus.wire.privacy import NoiseStep, PrivacyTerms

Floats = NDArray[np.float64]

EPSILON: Final = 2.0
SETTING: Final = PrivateSetting(data="digits", widths=(1, 1), agents=16, cohort=4, rounds=8)
_CANARY: Final = "agent.canary"
_NORM: Final = 1.0
RELEASES: Final[Mapping[str, PrivateMechanism]] = {
    "dp-fixed, fixed cohorts": PrivateMechanism(key="dp-fixed"),
    "dp-fixed, Poisson": PrivateMechanism(key="dp-fixed", poisson=True),
    "dp-adaptive, Poisson": PrivateMechanism(key="dp-adaptive", poisson=True),
    "dp-banded": PrivateMechanism(key="dp-banded"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackedRelease:
    """The attack on a mechanism.

    Attributes:
        measured_epsilon: What the attack shows that ε is at least, with a confidence of 95 %.
        exact: The area below the curve that follows from the noise multiplier; None: unknown.
        bound: The greatest area of any (ε, δ)-private release.
    """

    name: str
    epsilon: float
    noise_multiplier: float
    result: AttackResult
    measured_epsilon: float
    exact: float | None
    bound: float

    def plain(self) -> dict[str, Any]:
        """Return what JSON holds, rounded."""
        return {
            "name": self.name,
            "epsilon": self.epsilon,
            "noise_multiplier": self.noise_multiplier,
            **self.result.plain(),
            "measured_epsilon": round(self.measured_epsilon, 3),
            "exact": None if self.exact is None else round(self.exact, 4),
            "bound": round(self.bound, 4),
        }


def attacked_release(name: str, trials: int, *, noise_factor: float = 1.0) -> AttackedRelease:
    """Run a job of a mechanism as often with an agent as without it, and attack each run.

    Args:
        noise_factor: By which the noise differs from what is accounted: 1, but in a test of this.
    """
    mechanism = with_epsilon(SETTING, RELEASES[name], EPSILON)
    release = _Release(mechanism, noise_factor)
    rng = np.random.default_rng(0)
    scores = np.empty((trials, 2))
    for trial in range(trials):
        for present in (False, True):
            seen = release.versions(f"{name} {trial} {present}", present, rng)
            scores[trial, int(present)] = release.score(seen)
    members = np.tile([False, True], (trials, 1))
    return AttackedRelease(
        name=name,
        epsilon=EPSILON,
        noise_multiplier=mechanism.noise_multiplier,
        result=attack_result(scores, members),
        measured_epsilon=measured_epsilon(scores[:, 1], scores[:, 0], DELTA),
        exact=release.exact_auc(),
        bound=auc_bound(EPSILON, DELTA),
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the attacker sees of each round: a number of the update's sum, and clipping norms."""

    sums: Floats
    norms: tuple[Mapping[str, float], ...]


class _Release:
    """Rounds of one agent, and the likelihood ratio of what they publish."""

    def __init__(self, mechanism: PrivateMechanism, noise_factor: float) -> None:
        strategy = strategy_of(
            SETTING, mechanism, PrivateCandidate(learning_rate=0.1, clipping_norm=_NORM)
        )
        if strategy.privacy is None:
            raise ValueError("expected a mechanism")
        self._mechanism, self._strategy = mechanism, strategy
        self._terms: PrivacyTerms = strategy.privacy
        chosen = strategy.update_transforms[-1]
        self._parameters: dict[str, Any] = dict(chosen.parameters)
        for name in {"noise_multiplier", "clip_count_stddev"} & self._parameters.keys():
            self._parameters[name] *= noise_factor
        factory: Any = plugins.load("update_transforms", chosen.id)
        self._part: Any = factory(**self._parameters)
        self._training = partial(PrivateTraining, noise=EphemeralNoise(), cohort=SETTING.cohort)

    def _rounds_of_agent(self, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Draw the rounds in which the agent takes part, if it does."""
        taken = np.zeros(SETTING.rounds, bool)
        if self._mechanism.poisson:
            return rng.random(SETTING.rounds) < SETTING.cohort / SETTING.agents
        times = self._mechanism.participations(SETTING)
        step = self._terms.min_separation
        taken[: times * step : step] = True
        return taken

    def versions(self, job: str, present: bool, rng: np.random.Generator) -> _Seen:  # noqa: FBT001 - one of two worlds
        """Run the rounds of a job; `present`: whether the agent takes part."""
        taken = self._rounds_of_agent(rng) & present
        key = NoiseKey(sha256(b"release attacks").digest())
        numbers: dict[str, float] = {}
        steps: list[NoiseStep] = []
        sums, norms = np.empty(SETTING.rounds), []
        for number in range(SETTING.rounds):
            update, facts = np.zeros(2), []
            if taken[number]:
                sent = {"layer": np.array([1000.0, 0.0])}
                made = self._part.protect(sent, self._training(numbers=numbers))
                update = made.update["layer"].astype(np.float64)
                facts = [UpdateFacts(agent=_CANARY, examples=1, norm_bit=made.norm_bit)]
            digest = sha256(update.tobytes()).hexdigest()
            steps.append(NoiseStep(round=number + 1, task=number + 1, updates=digest))
            noise = KeyedNoise(key, job, steps, self._strategy)
            numbers = {**numbers, **self._part.next_private_numbers(numbers, facts, noise)}
            combined = Combined(update=update / SETTING.cohort, agents=len(facts), numbers=numbers)
            sums[number] = self._part.add_noise(combined, noise)[0] * SETTING.cohort
            norms.append(numbers)
        return _Seen(sums, tuple(norms))

    def score(self, seen: _Seen) -> float:
        """Return the likelihood ratio of a job with the agent to one without it."""
        score: Callable[[_Seen], float] = {
            "dp-banded": self._banded_score,
            "dp-adaptive": self._adaptive_score,
        }.get(self._mechanism.key, self._fixed_score)
        return score(seen)

    def _fixed_score(self, seen: _Seen) -> float:
        """Independent noise; with Poisson sampling the agent is in a round with a probability."""
        sigma = self._parameters["noise_multiplier"]
        each = (seen.sums / _NORM - 0.5) / sigma**2
        if not self._mechanism.poisson:
            return float(each[: self._mechanism.participations(SETTING)].sum())
        return _sampled(each)

    def _adaptive_score(self, seen: _Seen) -> float:
        """Both releases of a round, the sum in units of its norm, and the count of bits."""
        given = self._parameters
        sigma, count_std = given["noise_multiplier"], given["clip_count_stddev"]
        sum_std = (sigma**-2 - (2 * count_std) ** -2) ** -0.5
        used = np.array([each["used_clipping_norm"] for each in seen.norms])
        after = np.array([each["clipping_norm"] for each in seen.norms])
        rate, quantile = given["clip_norm_lr"], given["clip_norm_target_quantile"]
        bits = (quantile - np.log(after / used) / rate - 0.5) * SETTING.cohort
        each = (seen.sums / used - 0.5) / sum_std**2
        return _sampled(each + (-0.5 * bits - 0.125) / count_std**2)  # a clipped update: bit 0

    def _banded_score(self, seen: _Seen) -> float:
        """Correlated noise: it is made independent first, as the inverse of what correlates it."""
        column = coefficients(self._parameters["bands"])
        taken = self._rounds_of_agent(np.random.default_rng(0))
        signal = np.convolve(taken, column)[: SETTING.rounds]
        return float(np.convolve(seen.sums, column)[: SETTING.rounds] @ signal)

    def exact_auc(self) -> float | None:
        """Return the area for one Gaussian release, or as many in a row; None with sampling."""
        if self._mechanism.poisson:
            return None
        times = self._mechanism.participations(SETTING) if self._terms.release == "gaussian" else 1
        return float(norm.cdf(sqrt(times) / self._terms.noise_multiplier / sqrt(2)))


def _sampled(each: Floats) -> float:
    """Return the sum of log(1 - q + q · ratio), given the logs of the ratios."""
    rate = SETTING.cohort / SETTING.agents
    return float(np.logaddexp(log(1 - rate), log(rate) + each).sum())
