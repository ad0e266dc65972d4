"""Error of a model's path under noise, and how often agents take part in rounds. Pure.

The path is the model after each round: the sum of all updates so far. Its error is the root mean
square, over the rounds, of the standard deviation of the noise in that sum. It is what noise does
to a model that is the sum of its updates; banded noise lowers it, since later rounds partly take
back the noise of earlier ones.
"""

from math import exp, lgamma, log, log1p, sqrt
from typing import Final

import numpy as np

from fedbus.privacy.banded import banded_sensitivity, inverse_coefficients

UNLIKELY: Final = 0.05
"""Probability with which an agent may take part more often than `likely_participations` says."""


def path_error(deviation: float, rounds: int) -> float:
    """Return the error of the path if each round's noise is new and has this deviation."""
    return deviation * sqrt((rounds + 1) / 2)


def round_deviation(multiplier: float, bands: int, participations: int, rounds: int) -> float:
    """Return the deviation of banded noise in one round's sum; that of the last round."""
    column = inverse_coefficients(bands, rounds)
    scale = multiplier * banded_sensitivity(bands, participations)
    return scale * float(np.linalg.norm(column))


def banded_path_error(multiplier: float, bands: int, participations: int, rounds: int) -> float:
    """Return the error of the path with banded noise in the sum of the updates.

    Args:
        multiplier: The noise multiplier.
        bands: Rounds over which the noise is correlated.
        participations: Most rounds in which one agent takes part.
        rounds: Number of rounds.
    """
    weights = np.cumsum(inverse_coefficients(bands, rounds))
    mean_variance = float(np.cumsum(weights**2).mean())
    return multiplier * banded_sensitivity(bands, participations) * sqrt(mean_variance)


def best_bands(separation: int, participations: int, rounds: int) -> int:
    """Return the number of bands, at most the separation, with the least error of the path."""
    candidates = {separation, *(1 << power for power in range(separation.bit_length()))}
    errors = {
        bands: banded_path_error(1.0, bands, participations, rounds)
        for bands in sorted(candidates)
        if bands <= separation
    }
    return min(errors, key=errors.__getitem__)


def widest_separation(agents: int, cohort: int) -> int:
    """Return the greatest min_separation with which `agents` are always enough for a cohort.

    Those of the last `min_separation` - 1 cohorts have to wait.
    """
    return max(1, agents // cohort)


def likely_participations(agents: int, cohort: int, rounds: int) -> int:
    """Return in how many rounds the agent with most takes part, if cohorts are drawn by chance.

    With a probability of `UNLIKELY` at most, some agent takes part more often.
    """
    if cohort >= agents:
        return rounds
    rate = cohort / agents
    above, fewest = 0.0, rounds
    while fewest:
        above += _binomial(rounds, fewest, rate)
        if agents * above > UNLIKELY:
            break
        fewest -= 1
    return fewest


def _binomial(trials: int, successes: int, rate: float) -> float:
    ways = lgamma(trials + 1) - lgamma(successes + 1) - lgamma(trials - successes + 1)
    return exp(ways + successes * log(rate) + (trials - successes) * log1p(-rate))
