"""Noise multiplier for a wanted ε: the least noise with which a planned job stays within it."""

from collections.abc import Callable
from dataclasses import replace
from decimal import ROUND_CEILING, Decimal
from math import exp, inf, log
from typing import Final

from fedbus.errors import SettingsError
from fedbus.privacy.accounting import epsilon_of
from fedbus.privacy.ledger import planned_composition
from fedbus.text import counted
from fedbus.wire.privacy import PrivacyTerms

MOST_MULTIPLIER: Final = 10_000.0
"""More noise than this leaves nothing of a model; job files take no more either."""
LEAST_MULTIPLIER: Final = 1e-3
DIGITS: Final = 4
"""A multiplier is rounded up to this number of significant digits."""

_WIDTH: Final = 2e-4
_BEYOND: Final = 3e-5
"""How far beyond the interpolated multiplier the next one is tried, so that both ends close in."""
_BISECTED: Final = 4
"""In each step whose number this divides the interval is halved, not interpolated."""


def noise_multiplier_for(
    terms: PrivacyTerms,
    epsilon: float,
    *,
    rounds: int,
    participations: int,
    watch: Callable[[float], None] = lambda _: None,
) -> float:
    """Return the least noise multiplier with which ε is not exceeded, rounded up to `DIGITS`.

    For randomized response it is a probability, at most 1.

    Args:
        terms: Those of the job; their noise multiplier is not read.
        epsilon: The ε that the whole job may have, at `terms.delta`.
        rounds: Number of rounds.
        participations: Most rounds in which one agent takes part.
        watch: Called with each multiplier that is tried; what it raises ends the search.

    Raises:
        SettingsError: No noise multiplier gives this ε, such as with metric privacy.
        PluginError: `dp_accounting` is not installed.
    """
    most = 1.0 if terms.release == "randomized-response" else MOST_MULTIPLIER

    def excess(multiplier: float) -> float:
        """Return log(ε of this noise / wanted ε)."""
        watch(multiplier)
        tried = replace(terms, noise_multiplier=multiplier)
        found = epsilon_of(tried, planned_composition(tried, rounds, participations))
        return inf if found is None else log(max(found, 1e-12) / epsilon)

    low, high = _bracket(excess, most)
    if high[1] > 0:
        raise SettingsError(
            f"{terms.mechanism}: no noise multiplier up to {most:g} gives ε {epsilon:g} at δ "
            f"{terms.delta:g} after {counted(rounds, 'round')}; allow a greater ε, or plan fewer "
            "rounds"
        )
    return min(most, _rounded_up(high[0] if low is None else _close_in(excess, low, high)))


_Point = tuple[float, float]
"""A noise multiplier, and its excess: at most 0 if its ε is allowed."""


def _bracket(excess: Callable[[float], float], most: float) -> tuple[_Point | None, _Point]:
    """Return a multiplier with too much ε and one that is allowed, a factor of two apart.

    There is none of the first kind above `LEAST_MULTIPLIER` if no noise is needed, and the second
    is not allowed if that much noise is not enough.
    """
    high, low = (min(1.0, most), excess(min(1.0, most))), None
    while high[1] > 0 and high[0] < most:
        low, tried = high, min(most, high[0] * 2)
        high = (tried, excess(tried))
    while low is None and high[0] > LEAST_MULTIPLIER:
        tried = high[0] / 2
        if (found := excess(tried)) > 0:
            low = (tried, found)
        else:
            high = (tried, found)
    return low, high


def _close_in(excess: Callable[[float], float], low: _Point, high: _Point) -> float:
    """Return an allowed multiplier at most `_WIDTH` above one that is not; regula falsi on logs."""
    beyond, round_number = _BEYOND, 0
    while high[0] > low[0] * (1 + _WIDTH):
        round_number += 1
        share = 0.5
        if round_number % _BISECTED and low[1] < inf:
            share = min(0.98, max(0.02, low[1] / (low[1] - high[1])))
        tried = low[0] * (high[0] / low[0]) ** share * exp(beyond)
        beyond = -beyond
        if (found := excess(tried)) > 0:
            low = (tried, found)
        else:
            high = (tried, found)
    return high[0]


def _rounded_up(value: float) -> float:
    """Round up to `DIGITS` significant digits."""
    exact = Decimal(repr(value))
    return float(exact.quantize(Decimal(1).scaleb(exact.adjusted() - DIGITS + 1), ROUND_CEILING))
