"""ε of what a job has released (`pip install "fedbus[accounting]"`).

The events of a ledger are composed by `dp_accounting`, which takes a second to import: only this
module imports it, in the functions that need it. Each ε is an upper bound, rounded up.

What is not left to `dp_accounting` 0.6, and why:

- its PLD accountant takes a repeated randomized response for a single one
- its RDP accountant takes a negative divergence, which rounding errors cause, for an ε of 0; such
  orders are left out here
- its Laplace mechanism is that of one number; the PLD of any mechanism with the same pure ε bounds
  that of an update, and so does its RDP, which is convex in the shift
"""

import logging
from dataclasses import dataclass
from functools import lru_cache, reduce
from math import ceil, exp, inf, isfinite, log2
from typing import Any, Final, Literal

from fedbus.errors import PluginError
from fedbus.privacy.composed_noise import ComposedNoise, NoiseCounts, noise_counts, pure_epsilon
from fedbus.privacy.ledger import Composition
from fedbus.wire.privacy import PrivacyTerms

Accountant = Literal["rdp", "pld"]

MAX_PLD_EPSILON: Final = 1000.0
"""Above it RDP's ε stands: a PLD takes time in proportion to ε, and no such ε protects anything."""
MIN_PLD_DELTA: Final = 1e-10
"""Below it RDP's ε stands: a PLD has rounding errors that are no longer small beside δ."""

_PLD_ERROR: Final = 1e-14
"""More than the rounding error in δ of one release among many."""

_STEPS_OF_ONE: Final = 1_000_000
"""ε is rounded up to a multiple of 1 / this."""
_ROUNDING: Final = 1e-9
"""More than the errors of the root searches in `dp_accounting`, relative and absolute."""
_PURE_ROUNDING: Final = 1e-12
"""More than the relative rounding error of a sum of pure ε."""
_FINEST_INTERVAL: Final = 1e-4
_MOST_PLD_POINTS: Final = 50_000
_MOST_COMPOSED_POINTS: Final = 1_000_000
_TAIL: Final = 8.5
"""Standard deviations beyond which a normal distribution has less than 1e-16."""


@dataclass(frozen=True, slots=True)
class Accounted:
    """An ε, None if there is no finite one, and the accountant whose bound it is."""

    epsilon: float | None
    accountant: Accountant


def epsilon_of(terms: PrivacyTerms, composition: Composition) -> float | None:
    """Return the ε at `terms.delta` of all that a job has released; None: there is no finite one.

    Raises:
        PluginError: `dp_accounting` is not installed.
    """
    return account(terms, composition).epsilon


def account(terms: PrivacyTerms, composition: Composition) -> Accounted:
    """Return the ε of all that a job has released, and which accountant computed it.

    `pld` becomes `rdp` where a PLD would take too long or be inexact: above `MAX_PLD_EPSILON`, and
    below `MIN_PLD_DELTA` or 1e-14 for each release. Results are kept.

    Raises:
        PluginError: `dp_accounting` is not installed.
    """
    steps = noise_counts(terms, composition)
    if steps is None:
        return Accounted(None, terms.accountant)
    if not steps:
        return Accounted(0.0, terms.accountant)
    return _accounted(steps, terms.delta, terms.accountant)


def event_of(terms: PrivacyTerms, composition: Composition) -> Any | None:  # noqa: ANN401 - a DpEvent of a package without types
    """Return what a job has released as a `DpEvent`; None: no event has a finite ε.

    Raises:
        PluginError: `dp_accounting` is not installed.
    """
    steps = noise_counts(terms, composition)
    if steps is None:
        return None
    package = _package()
    return package.ComposedDpEvent(
        [package.SelfComposedDpEvent(_event(noise), count) for noise, count in steps]
    )


@lru_cache(maxsize=4096)
def _accounted(steps: NoiseCounts, delta: float, accountant: Accountant) -> Accounted:
    """Return the least of the bounds that hold, and the accountant that was used."""
    pure = _pure_sum(steps)
    if not delta or steps[0][0].kind == "features":
        bound = inf
    elif accountant == "pld" and (sigma := _gaussian_multiplier(steps)):
        bound = float(_package().get_epsilon_gaussian(sigma, delta))
    else:
        bound = _rdp_epsilon(steps, delta)
        if accountant == "pld" and (bound > MAX_PLD_EPSILON or delta < _least_delta(steps)):
            accountant = "rdp"
        elif accountant == "pld":
            bound = min(bound, _pld_epsilon(steps, delta, bound))
    least = min(pure, round_up(bound))
    return Accounted(least if isfinite(least) else None, accountant)


def _gaussian_multiplier(steps: NoiseCounts) -> float:
    """Return the multiplier of a single Gaussian release, whose ε is known exactly; or 0."""
    noise, count = steps[0]
    single = len(steps) == count == noise.rate == 1 and noise.kind == "gaussian"
    return noise.multiplier if single else 0.0


def _least_delta(steps: NoiseCounts) -> float:
    return max(MIN_PLD_DELTA, _PLD_ERROR * sum(count for _, count in steps))


def round_up(value: float) -> float:
    """Round up to six decimals, and never below the exact value."""
    scaled = (value * (1 + _ROUNDING) + _ROUNDING) * _STEPS_OF_ONE
    return ceil(scaled) / _STEPS_OF_ONE if isfinite(scaled) else inf


def _pure_sum(steps: NoiseCounts) -> float:
    """Return the sum of pure ε, rounded up to six decimals; infinity if a step has none.

    A sum that is a whole number of millionths but for rounding errors is not rounded up.
    """
    if any(noise.kind == "gaussian" for noise, _ in steps):
        return inf
    scaled = sum(count * pure_epsilon(noise) for noise, count in steps) * _STEPS_OF_ONE
    return ceil(scaled * (1 - _PURE_ROUNDING)) / _STEPS_OF_ONE if isfinite(scaled) else inf


def _rdp_epsilon(steps: NoiseCounts, delta: float) -> float:
    divergences = [(_rdp_of(noise), count) for noise, count in steps]
    orders = divergences[0][0][0]
    total = sum(each * count for (_, each), count in divergences)
    usable = total >= 0  # not where rounding errors made a divergence negative
    found = _package().rdp.compute_epsilon(orders[usable], total[usable], delta)
    return float(found[0])


@lru_cache(maxsize=1024)
def _rdp_of(noise: ComposedNoise) -> tuple[Any, Any]:
    """Return the orders, and the divergence of one release at each."""
    package = _package()
    relations = package.NeighboringRelation
    relation = relations.ADD_OR_REMOVE_ONE
    if noise.kind == "randomized-response":
        relation = relations.REPLACE_ONE
    accountant = package.rdp.RdpAccountant(neighboring_relation=relation)
    accountant.compose(_event(noise))
    return accountant.orders, accountant.rdp


def _pld_epsilon(steps: NoiseCounts, delta: float, bound: float) -> float:
    """Return the PLD's ε, of which `bound` is an upper bound."""
    interval = max(_interval(noise, bound) for noise, _ in steps)
    composed = (_pld_of(noise, interval).self_compose(count) for noise, count in steps)
    return float(reduce(_compose, composed).get_epsilon_for_delta(delta))


def _compose(one: Any, other: Any) -> Any:  # noqa: ANN401 - of a package without types
    return one.compose(other)


def _interval(noise: ComposedNoise, bound: float) -> float:
    """Return a width of a PLD's intervals that bounds its cost; any width gives an upper bound.

    Releases with a pure ε have the losses ε and -ε only, so this width makes no error.
    """
    if noise.kind != "gaussian":
        return pure_epsilon(noise)
    losses = 2 * _TAIL / noise.multiplier + 1 / noise.multiplier**2
    widest = max(losses / _MOST_PLD_POINTS, bound / _MOST_COMPOSED_POINTS, _FINEST_INTERVAL)
    return float(_FINEST_INTERVAL * 2 ** ceil(log2(widest / _FINEST_INTERVAL)))


@lru_cache(maxsize=16)
def _pld_of(noise: ComposedNoise, interval: float) -> Any:  # noqa: ANN401 - of a package without types
    losses = _package().pld.privacy_loss_distribution
    if noise.kind == "gaussian":
        return losses.from_gaussian_mechanism(
            noise.multiplier, sampling_prob=noise.rate, value_discretization_interval=interval
        )
    pure = _package().pld.common.DifferentialPrivacyParameters(pure_epsilon(noise), 0.0)
    return losses.from_privacy_parameters(pure, interval)


def _event(noise: ComposedNoise) -> Any:  # noqa: ANN401 - a DpEvent of a package without types
    package = _package()
    if noise.kind == "laplace":
        return package.LaplaceDpEvent(noise.multiplier)
    if noise.kind == "randomized-response":
        return package.RandomizedResponseDpEvent(noise.multiplier, 2)
    if noise.kind == "features":  # a bit that is inverted at these odds has this pure ε
        odds = exp(-pure_epsilon(noise))
        return package.RandomizedResponseDpEvent(2 * odds / (1 + odds), 2)
    gaussian = package.GaussianDpEvent(noise.multiplier)
    return gaussian if noise.rate == 1 else package.PoissonSampledDpEvent(noise.rate, gaussian)


def _package() -> Any:  # noqa: ANN401 - a package without types
    """Import `dp_accounting`, and drop its warnings about orders that it leaves out itself."""
    try:
        import dp_accounting  # noqa: PLC0415 - it takes a second
    except ImportError as error:
        raise PluginError(
            'ε is computed by dp-accounting; pip install "fedbus[accounting]"'
        ) from error
    logging.getLogger("absl").addFilter(_is_of_another_package)
    return dp_accounting


def _is_of_another_package(record: logging.LogRecord) -> bool:
    return "dp_accounting" not in record.pathname
