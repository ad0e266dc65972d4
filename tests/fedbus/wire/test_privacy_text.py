"""Terms of privacy mechanisms as people read them."""

from typing import Any

import pytest

from fedbus.wire.privacy import PrivacyTerms
from fedbus.wire.privacy_text import format_terms

FIXED: dict[str, Any] = {
    "mechanism": "dp-fixed",
    "release": "gaussian",
    "noise_multiplier": 1.1,
    "delta": 1e-5,
    "cohort": 20,
}
LOCAL: dict[str, Any] = {**FIXED, "noise": "agents", "relation": "replace-one"}


@pytest.mark.parametrize(
    ("terms", "text"),
    [
        (
            FIXED,
            (
                "privacy of each agent (dp-fixed): Gaussian noise of the collector with the "
                "multiplier 1.1, 20 agents in a round, ε for δ = 1e-05 by pld"
            ),
        ),
        (
            {**FIXED, "cohort": 1},
            (
                "privacy of each agent (dp-fixed): Gaussian noise of the collector with the "
                "multiplier 1.1, 1 agent in a round, ε for δ = 1e-05 by pld"
            ),
        ),
        (
            {
                **FIXED,
                "sampling": "poisson",
                "population": 500,
                "rate": 0.04,
                "target_epsilon": 4.0,
                "accountant": "rdp",
            },
            (
                "privacy of each agent (dp-fixed): Gaussian noise of the collector with the "
                "multiplier 1.1, 20 of 500 agents in a round on average (Poisson sampling: ε "
                "assumes that readers see neither who is drawn nor how long rounds take), ε for "
                "δ = 1e-05 by rdp, at most ε = 4"
            ),
        ),
        (
            {
                **FIXED,
                "mechanism": "dp-banded",
                "release": "banded",
                "correlated": True,
                "population": 180,
                "bands": 1,
                "min_separation": 9,
                "max_participations": 11,
            },
            (
                "privacy of each agent (dp-banded): banded Gaussian noise of the collector with "
                "the multiplier 1.1, correlated over 1 round, 20 of 180 agents in a round, none "
                "of them again before 9 rounds later, each in at most 11 rounds, ε for δ = 1e-05 "
                "by pld"
            ),
        ),
        (
            {**FIXED, "mechanism": "metric-privacy", "release": "metric", "noise_multiplier": 0.0},
            (
                "privacy of each agent (metric-privacy): noise of the collector in proportion to "
                "the distance of the updates, 20 agents in a round, no ε"
            ),
        ),
        (
            {
                **LOCAL,
                "mechanism": "ldp-randomized-response",
                "release": "randomized-response",
                "noise_multiplier": 0.5,
            },
            (
                "privacy of each agent (ldp-randomized-response): randomized response of agents, "
                "where a bit is drawn at random with probability 0.5, 20 agents in a round, ε "
                "for δ = 1e-05 by pld"
            ),
        ),
        (
            {
                **LOCAL,
                "mechanism": "dp-sgd",
                "unit": "example",
                "release": "dp-sgd",
                "rate": 0.25,
                "steps": 12,
            },
            (
                "privacy of each training example (dp-sgd): noisy gradients of agents with the "
                "multiplier 1.1, 12 steps in a round with the sampling rate 0.25, 20 agents in a "
                "round, ε for δ = 1e-05 by pld"
            ),
        ),
    ],
)
def test_terms_are_written_in_one_sentence(terms: dict[str, Any], text: str) -> None:
    """Who is protected, by what, how often, and for which δ."""
    assert format_terms(PrivacyTerms(**terms)) == text
