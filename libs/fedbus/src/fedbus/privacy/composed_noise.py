"""Composition of a ledger: the noise of its entries, and how often each is repeated. Pure.

`fedbus.privacy.accounting` makes ε of it.
"""

from dataclasses import dataclass
from math import log
from typing import Final, Literal

from fedbus.privacy.ledger import Composition
from fedbus.wire.privacy import PrivacyTerms

_NO_NOISE: Final = 1e-6
"""Gaussian noise with this multiplier or less has no ε here: `dp_accounting` divides by 0."""


@dataclass(frozen=True, slots=True)
class ComposedNoise:
    """One release: noise and sampling rate as in `PrivacyTerms`."""

    kind: Literal["gaussian", "laplace", "randomized-response", "features"]
    multiplier: float
    rate: float = 1.0


NoiseCounts = tuple[tuple[ComposedNoise, int], ...]
"""Releases, and how often each is repeated."""


def is_amplified(terms: PrivacyTerms) -> bool:
    """Return whether ε profits from Poisson sampling of agents.

    It does not if the agents draw the noise: its variance then depends on who takes part.
    """
    poisson = terms.release == "gaussian" and terms.poisson
    return poisson and terms.noise == "collector"


def depends_on_participations(terms: PrivacyTerms) -> bool:
    """Return whether ε grows with the number of rounds in which one agent takes part."""
    return terms.release not in {"banded", "metric", "features"} and not is_amplified(terms)


def noise_counts(terms: PrivacyTerms, made: Composition) -> NoiseCounts | None:
    """Return what was released, for the agent with most; None: it has no finite ε."""
    sigma, times = terms.noise_multiplier, made.participations * terms.steps
    found: NoiseCounts
    match terms.release:
        case "metric":
            return None
        case "gaussian" if is_amplified(terms):
            found = tuple(
                (ComposedNoise("gaussian", each, terms.rate), n) for each, n in made.multipliers
            )
        case "gaussian":
            whole = made.precision**-0.5 if made.participations else 0.0
            found = ((ComposedNoise("gaussian", whole), min(1, made.participations)),)
        case "banded" if _breaks_bands(terms, made):
            return None
        case "banded":
            found = (
                ((ComposedNoise("gaussian", made.multipliers[0][0]), 1),) if made.entries else ()
            )
        case "dp-sgd":
            found = ((ComposedNoise("gaussian", sigma, terms.rate), times),)
        case "randomized-response" if sigma >= 1:  # all bits are drawn at random
            return () if sigma == 1 else None
        case "laplace" | "randomized-response":
            found = ((ComposedNoise(terms.release, sigma), times),)
        case _:  # features, which are sent once
            found = ((ComposedNoise("features", sigma), min(times, terms.steps)),)
    steps = tuple((noise, count) for noise, count in found if count)
    return steps if all(_hides(noise) for noise, _ in steps) else None


def _hides(noise: ComposedNoise) -> bool:
    return noise.multiplier > (_NO_NOISE if noise.kind == "gaussian" else 0)


def _breaks_bands(terms: PrivacyTerms, made: Composition) -> bool:
    """Return whether a ledger has what the sensitivity of banded noise was not computed for."""
    most, separation = terms.max_participations, made.separation
    return (
        most is None
        or made.participations > most
        or terms.bands > terms.min_separation
        or (separation is not None and separation < terms.min_separation)
    )


def pure_epsilon(noise: ComposedNoise) -> float:
    """Return the pure ε of one release; of a bit it is the log of the odds of the true one."""
    if noise.kind != "randomized-response":
        return 1 / noise.multiplier
    return log((2 - noise.multiplier) / noise.multiplier)
