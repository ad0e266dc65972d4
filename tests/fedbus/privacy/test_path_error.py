"""Error of a model's path at equal ε, and how often agents take part."""

from math import comb, sqrt

import dp_accounting as dp
import numpy as np
import pytest

from fedbus.privacy.accounting import epsilon_of
from fedbus.privacy.ledger import planned_composition
from fedbus.privacy.path_error import (
    UNLIKELY,
    banded_path_error,
    best_bands,
    likely_participations,
    path_error,
    round_deviation,
    widest_separation,
)
from tests.fedbus.privacy.privacy_examples import terms


@pytest.mark.parametrize(
    ("epsilon", "rate", "sigma", "rounds", "errors"),
    [
        (7.05, 0.1, 1.0, 100, (6.41, 7.11, 15.0)),
        (5.74, 0.05, 0.8, 100, (4.59, 5.69, 12.6)),
        (3.26, 0.02, 0.8, 200, (7.03, 8.02, 25.9)),
        (2.34, 0.1, 2.0, 100, (16.7, 14.2, 39.0)),
    ],
)
def test_the_designs_figures_of_banded_noise_at_equal_epsilon(
    epsilon: float, rate: float, sigma: float, rounds: int, errors: tuple[float, ...]
) -> None:
    """The design's figures for banded noise, Poisson sampling and neither, at δ 1e-5.

    Poisson sampling with this noise has this ε; the other two get the noise that gives the same ε
    to an agent that takes part as often as Poisson sampling draws it on average.
    """
    sampled = terms(
        sampling="poisson", relation="add-or-remove-one", rate=rate, noise_multiplier=sigma
    )
    found = epsilon_of(sampled, planned_composition(sampled, rounds, 1))
    assert found == pytest.approx(epsilon, abs=0.006)
    whole = dp.get_sigma_gaussian(epsilon, 1e-5)
    times, separation = round(rounds * rate), round(1 / rate)
    bands = best_bands(separation, times, rounds)
    assert bands == separation
    banded = banded_path_error(whole, bands, times, rounds)
    plain = path_error(whole * sqrt(times), rounds)
    assert banded == pytest.approx(errors[0], rel=3e-3)
    assert path_error(sigma, rounds) == pytest.approx(errors[1], rel=3e-3)
    assert plain == pytest.approx(errors[2], rel=3e-3)


def test_the_error_is_that_of_the_sums_of_the_noise() -> None:
    """Compared with the covariance of all prefix sums, computed from its definition."""
    rounds, bands, times, sigma = 12, 4, 3, 1.5
    root = np.zeros((rounds, rounds))
    c = [comb(2 * k, k) / 4**k for k in range(bands)]
    for k, value in enumerate(c):
        root += np.diag(np.full(rounds - k, value), -k)
    scale = sigma * sqrt(times) * float(np.linalg.norm(c))
    noise = np.linalg.inv(root) * scale
    sums = np.tril(np.ones((rounds, rounds))) @ noise
    variances = (sums**2).sum(axis=1)
    found = banded_path_error(sigma, bands, times, rounds)
    assert found == pytest.approx(sqrt(variances.mean()))
    last = sqrt((noise[-1] ** 2).sum())
    assert round_deviation(sigma, bands, times, rounds) == pytest.approx(last)
    plain = np.tril(np.ones((rounds, rounds)))
    assert path_error(2.0, rounds) == pytest.approx(2 * sqrt((plain**2).sum(axis=1).mean()))


def test_one_band_is_new_noise_in_each_round() -> None:
    """With the sensitivity of several participations."""
    assert banded_path_error(1.0, 1, 9, 50) == pytest.approx(path_error(3.0, 50))
    assert best_bands(1, 9, 50) == 1


def test_the_widest_separation_leaves_a_cohort_of_agents_that_need_not_wait() -> None:
    """Of 200 agents 20 are left after nine cohorts of 20."""
    assert widest_separation(200, 20) == 10
    assert widest_separation(199, 20) == 9
    assert widest_separation(10, 20) == 1


def test_likely_participations_are_those_of_the_agent_with_most() -> None:
    """By the exact distribution, and by the union bound over the agents."""
    found = likely_participations(200, 20, 100)

    def above(times: int) -> float:
        counts = (comb(100, k) * 0.1**k * 0.9 ** (100 - k) for k in range(times + 1, 101))
        return 200 * sum(counts)

    assert above(found) <= UNLIKELY < above(found - 1)
    assert likely_participations(20, 20, 7) == 7
    assert likely_participations(2, 1, 3) == 3
    assert likely_participations(10**6, 1, 1) == 1
    drawn = np.random.default_rng(1).binomial(100, 0.1, (1000, 200)).max(axis=1)
    assert (drawn > found).mean() <= UNLIKELY + 0.02


def test_an_agent_may_take_part_in_no_round() -> None:
    """A job of no rounds has no participation."""
    assert likely_participations(10, 1, 0) == 0
