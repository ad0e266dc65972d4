"""Text for people about privacy: what the terms of a job promise. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final

from fedbus.text import counted
from fedbus.wire.privacy import NoiseKind, PrivacyTerms, Unit

_NOISE: Final[Mapping[NoiseKind, str]] = {
    "gaussian": "Gaussian noise",
    "banded": "banded Gaussian noise",
    "laplace": "Laplace noise",
    "randomized-response": "randomized response",
    "dp-sgd": "noisy gradients",
    "metric": "noise",
    "features": "randomized features",
}
_UNITS: Final[Mapping[Unit, str]] = {"agent": "each agent", "example": "each training example"}


def format_terms(terms: PrivacyTerms) -> str:
    """Format what a job promises: `privacy of each agent (dp-fixed): Gaussian noise of …`."""
    return f"privacy of {_UNITS[terms.unit]} ({terms.mechanism}): {', '.join(_parts(terms))}"


def _parts(terms: PrivacyTerms) -> Iterator[str]:
    side = "the collector" if terms.noise == "collector" else "agents"
    with_ = f" with the multiplier {terms.noise_multiplier:.4g}" if terms.noise_multiplier else ""
    if terms.release == "randomized-response":
        with_ = f", where a bit is drawn at random with probability {terms.noise_multiplier:.4g}"
    if terms.release == "metric":
        with_ = " in proportion to the distance of the updates"
    yield f"{_NOISE[terms.release]} of {side}{with_}"
    if terms.correlated:
        yield f"correlated over {counted(terms.bands, 'round')}"
    if terms.release == "dp-sgd":
        yield f"{counted(terms.steps, 'step')} in a round with the sampling rate {terms.rate:.4g}"
    yield from _cohorts(terms)
    if terms.release == "metric":
        yield "no ε"
        return
    yield f"ε for δ = {terms.delta:.4g} by {terms.accountant}"
    if terms.target_epsilon is not None:
        yield f"at most ε = {terms.target_epsilon:.4g}"


def _cohorts(terms: PrivacyTerms) -> Iterator[str]:
    of = "" if terms.population is None else f"{terms.cohort} of "
    agents = f"{of}{counted(terms.population or terms.cohort, 'agent')}"
    if terms.poisson:
        assumes = "ε assumes that readers see neither who is drawn nor how long rounds take"
        yield f"{agents} in a round on average (Poisson sampling: {assumes})"
    else:
        yield f"{agents} in a round"
    if terms.min_separation > 1:
        yield f"none of them again before {terms.min_separation} rounds later"
    if terms.max_participations is not None:
        yield f"each in at most {counted(terms.max_participations, 'round')}"
