"""Membership inference: scores of attacks, how well they tell members from others. Pure.

An attack gives each case a score: the higher, the more it takes the case for a member. What no
attack can exceed on an (ε, δ)-private release is known (Kairouz et al. 2015, arXiv 1311.0776):
true positives ≤ e^ε · false positives + δ, and the same with both kinds of error exchanged.
"""

from dataclasses import dataclass
from math import exp, log
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from fedbus.model.layout import Weights

Scores = NDArray[np.float64]
Members = NDArray[np.bool_]

CONFIDENCE: Final = 0.95
LOW_RATE: Final = 0.01
"""The rate of false positives at which true ones are reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackResult:
    """How well an attack does.

    Attributes:
        auc: Probability that a member has a higher score than another case; 0.5: a guess.
        auc_interval: 95 % of bootstrap samples of whole trials lie in it.
        true_positives: Share of members found, with `LOW_RATE` of the others.
        trials: Models or releases that were attacked.
    """

    auc: float
    auc_interval: tuple[float, float]
    true_positives: float
    trials: int

    def plain(self) -> dict[str, Any]:
        """Return what JSON holds, rounded."""
        low, high = self.auc_interval
        return {
            "auc": round(self.auc, 4),
            "auc_interval": [round(low, 4), round(high, 4)],
            "true_positives": round(self.true_positives, 4),
            "trials": self.trials,
        }


def attack_result(scores: Scores, members: Members) -> AttackResult:
    """Measure an attack.

    Args:
        scores: Shape (trials, cases).
        members: The same shape: which cases were members.
    """
    rng = np.random.default_rng(0)
    trials = len(scores)
    samples = [rng.integers(trials, size=trials) for _ in range(200)]
    aucs = [auc(scores[each][members[each]], scores[each][~members[each]]) for each in samples]
    low, high = np.quantile(aucs, [0.025, 0.975])
    found, others = scores[members], scores[~members]
    return AttackResult(
        auc=auc(found, others),
        auc_interval=(float(low), float(high)),
        true_positives=true_positives(found, others, LOW_RATE),
        trials=trials,
    )


def auc(members: Scores, others: Scores) -> float:
    """Return the area below the curve of true over false positives; equal scores count half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, members, "left") + np.searchsorted(ordered, members, "right")
    return float(below.mean() / (2 * len(others)))


def true_positives(members: Scores, others: Scores, rate: float) -> float:
    """Return the share of members above the score that at most `rate` of the others exceed."""
    allowed = int(rate * len(others))
    limit = np.sort(others)[len(others) - 1 - allowed]
    return float((members > limit).mean())


def auc_bound(epsilon: float, delta: float) -> float:
    """Return the greatest area of any attack on an (ε, δ)-private release."""
    corner = (1 - delta) / (1 + exp(epsilon))
    left = (1 - delta) * corner - exp(epsilon) * corner**2 / 2
    right = exp(-epsilon) * (1 - delta - corner) ** 2 / 2
    return 1 - left - right


def excess(members: Scores, others: Scores, epsilon: float, delta: float) -> float:
    """Return the most by which true positives exceed e^ε · false positives + δ, at any score.

    A small share above 0 may be chance; see `measured_epsilon`.
    """
    limits = np.unique(others)
    true = 1 - np.searchsorted(np.sort(members), limits, "right") / len(members)
    false = 1 - np.searchsorted(np.sort(others), limits, "right") / len(others)
    return float((true - np.minimum(1, exp(epsilon) * false + delta)).max())


def measured_epsilon(members: Scores, others: Scores, delta: float) -> float:
    """Return the ε that a release has at least, with a confidence of 95 %; 0 if none is shown.

    Trials with an even number choose the score above which a case counts as a member, and the
    others are counted with it, so that the intervals hold (Clopper and Pearson 1934).

    Args:
        members: Shape (trials,), of independent releases, as `others`.
    """
    limits = np.quantile(others[::2], np.linspace(0.5, 0.999, 60))
    best = max(limits, key=lambda at: _least_epsilon(members[::2], others[::2], at, delta))
    return _least_epsilon(members[1::2], others[1::2], float(best), delta)


def _least_epsilon(positives: Scores, negatives: Scores, limit: float, delta: float) -> float:
    """Return log((true positives - δ) / false positives) with both at the end of their interval."""
    doubt = (1 - CONFIDENCE) / 2
    hits, false = int((positives > limit).sum()), int((negatives > limit).sum())
    least = float(beta.ppf(doubt, hits, len(positives) - hits + 1)) if hits else 0.0
    rest = len(negatives) - false
    most = float(beta.ppf(1 - doubt, false + 1, rest)) if rest else 1.0
    return log((least - delta) / most) if least > delta else 0.0


def likelihood_ratios(answers: Scores, members: Members) -> Scores:
    """Return the scores of the likelihood ratio attack (N. Carlini et al. 2022, arXiv 2112.03570).

    Each model is attacked in turn, and all others show what models with and without a row answer:
    normal distributions, with means of the row's own and deviations common to all rows.

    Args:
        answers: Shape (models, rows): log(p / (1 - p)) with the probability p of the true class.
        members: The same shape: which rows each model was trained on.
    """
    scores = np.empty_like(answers)
    for number in range(len(answers)):
        others = np.arange(len(answers)) != number
        given, used = answers[others], members[others]
        inside = _fitted(given, used)
        outside = _fitted(given, ~used)
        scores[number] = _log_density(answers[number], *inside) - _log_density(
            answers[number], *outside
        )
    return scores


def _fitted(answers: Scores, chosen: NDArray[np.bool_]) -> tuple[Scores, float]:
    """Return the mean of each row's chosen answers, and the deviation of all of them."""
    counts = np.maximum(chosen.sum(axis=0), 1)
    means = np.where(chosen, answers, 0).sum(axis=0) / counts
    rest = np.where(chosen, answers - means, 0)
    return means, float(np.sqrt((rest**2).sum() / chosen.sum()) + 1e-9)


def _log_density(x: Scores, mean: Scores, deviation: float) -> Scores:
    density: Scores = -0.5 * ((x - mean) / deviation) ** 2 - np.log(deviation)
    return density


@dataclass(frozen=True, slots=True)
class LogOdds:
    """How a model answers rows.

    Attributes:
        answers: log(p / (1 - p)) with the probability p of a row's class.
        right: Whether that class is predicted.
    """

    answers: Scores
    right: Members


def log_odds(weights: Weights, x: NDArray[np.float32], y: NDArray[np.int64]) -> LogOdds:
    """Return the answers of dense layers with ReLU, as `agent_networks` and the `mlp` have them."""
    hidden = x.astype(np.float64)
    names = list(weights)
    for number in range(0, len(names), 2):
        weight, bias = weights[names[number]], weights[names[number + 1]]
        hidden = np.maximum(hidden, 0) if number else hidden
        hidden = hidden @ weight + bias
    rows = np.arange(len(y))
    own = hidden[rows, y]
    others = hidden.copy()
    others[rows, y] = -np.inf
    greatest = others.max(axis=1)
    rest = greatest + np.log(np.exp(others - greatest[:, None]).sum(axis=1))
    return LogOdds(own - rest, hidden.argmax(axis=1) == y)
