"""Noise multipliers for a wanted ε."""

from math import exp
from typing import Any

import dp_accounting as dp
import pytest

from fedbus.errors import SettingsError
from fedbus.privacy.accounting import epsilon_of
from fedbus.privacy.calibration import DIGITS, noise_multiplier_for
from fedbus.privacy.ledger import planned_composition
from tests.fedbus.privacy.privacy_examples import terms

POISSON = {"sampling": "poisson", "relation": "add-or-remove-one", "rate": 0.1}
BANDED = {"release": "banded", "bands": 9, "min_separation": 9, "max_participations": 11}


@pytest.mark.parametrize("epsilon", [0.5, 4.0, 30.0])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"accountant": "rdp"},
        POISSON,
        {**POISSON, "accountant": "rdp"},
        BANDED,
        {"release": "dp-sgd", "rate": 0.1, "steps": 50, "accountant": "rdp"},
        {"release": "laplace", "noise": "agents", "relation": "replace-one"},
        {"release": "randomized-response", "relation": "replace-one", "steps": 40},
        {"release": "features", "relation": "replace-one"},
    ],
)
def test_the_noise_is_enough_and_little_less_would_not_be(
    given: dict[str, Any], epsilon: float
) -> None:
    """ε is at most what is wanted, and with 0.2 % less noise above it."""
    tried: list[float] = []
    wanted = terms(**given)
    found = noise_multiplier_for(wanted, epsilon, rounds=100, participations=10, watch=tried.append)
    assert float(f"{found:.{DIGITS}g}") == found
    for factor, enough in ((1.0, True), (0.998, False)):
        checked = terms(**given, noise_multiplier=found * factor)
        spent = epsilon_of(checked, planned_composition(checked, 100, 10))
        assert spent is not None
        assert (spent <= epsilon) == enough
    assert len(tried) < 40


def test_it_agrees_with_dp_accounting() -> None:
    """Its own calibration, for one Gaussian release and for sampled ones."""
    exact = dp.get_sigma_gaussian(4.0, 1e-5)
    found = noise_multiplier_for(terms(**BANDED), 4.0, rounds=100, participations=10)
    assert 0 <= found - exact < 1.2e-3  # the fourth digit is rounded up

    def event(sigma: float) -> Any:  # noqa: ANN401 - of a package without types
        sampled = dp.PoissonSampledDpEvent(0.1, dp.GaussianDpEvent(sigma))
        return dp.SelfComposedDpEvent(sampled, 100)

    reference = dp.calibrate_dp_mechanism(
        dp.rdp.RdpAccountant, event, 4.0, 1e-5, dp.LowerEndpointAndGuess(0.5, 1.0), tol=1e-5
    )
    sampled = terms(**POISSON, accountant="rdp")
    found = noise_multiplier_for(sampled, 4.0, rounds=100, participations=10)
    assert found == pytest.approx(reference, rel=5e-4)


def test_it_never_asks_for_less_than_the_least_noise() -> None:
    """A job that releases nothing, or may have any ε, gets the least."""
    assert noise_multiplier_for(terms(), 4.0, rounds=0, participations=0) <= 0.001
    assert noise_multiplier_for(terms(), 1e12, rounds=1, participations=1) <= 0.001


def test_an_epsilon_that_no_noise_gives_is_refused() -> None:
    """As one so small, or that of metric privacy."""
    with pytest.raises(SettingsError, match="no noise multiplier up to 10000 gives ε 1e-06"):
        noise_multiplier_for(terms(), 1e-6, rounds=10**6, participations=10**6)
    metric = terms(mechanism="metric-privacy", release="metric")
    with pytest.raises(SettingsError, match="metric-privacy: no noise multiplier"):
        noise_multiplier_for(metric, 4.0, rounds=1, participations=1)


def test_a_probability_is_at_most_one() -> None:
    """A bit that is drawn at random says nothing, with any ε."""
    bit = terms(release="randomized-response", relation="replace-one", delta=0.0)
    found = noise_multiplier_for(bit, 1.0, rounds=1, participations=1)
    assert found == pytest.approx(2 / (exp(1) + 1), rel=2e-3)
    assert noise_multiplier_for(bit, 1e-9, rounds=1, participations=1) == 1.0
