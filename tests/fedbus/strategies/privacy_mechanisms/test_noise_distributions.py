"""The noise that leaves an agent or a collector has the distribution that ε is computed from."""

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from fedbus.plugins import Block, Combined, ProtectsCombined, ProtectsUpdate, UpdateFacts
from fedbus.privacy.noise import KeyedNoise
from fedbus.strategies.privacy_mechanisms.dp_adaptive import AdaptiveClipping
from fedbus.strategies.privacy_mechanisms.dp_banded import BandedNoise
from fedbus.strategies.privacy_mechanisms.dp_fixed import FixedClipping
from fedbus.strategies.privacy_mechanisms.ldp_gaussian import LocalGaussian
from fedbus.strategies.privacy_mechanisms.ldp_laplace import LocalLaplace
from fedbus.strategies.privacy_mechanisms.metric_privacy import MetricNoise
from tests.fedbus.privacy.privacy_examples import STRATEGY
from tests.fedbus.strategies.privacy_mechanisms.sample_noise import (
    KEY,
    NUMBERS,
    agent_noise,
    round_noise,
    step_of,
    training,
)

LEAST_P = 1e-3
"""Every test has a fixed seed, so none fails by chance."""


def collector_noise(mechanism: ProtectsCombined, rounds: int = 1) -> Block:
    """Return what a collector adds to a combined update of zeros."""
    noise = round_noise(rounds)
    numbers = mechanism.next_private_numbers({}, [], noise)
    combined = Combined(
        update=np.zeros(NUMBERS), agents=3, numbers=numbers, norm=0.0, distance=0.25
    )
    return mechanism.add_noise(combined, noise)


def fixed(*, server_side_noising: bool = True) -> FixedClipping:
    """Return fixed clipping with a sum's deviation of 1.5."""
    return FixedClipping(
        noise_multiplier=3,
        clipping_norm=0.5,
        num_sampled_clients=4,
        server_side_noising=server_side_noising,
    )


def adaptive(*, server_side_noising: bool = True) -> AdaptiveClipping:
    """Return adaptive clipping whose updates' multiplier is 1 / sqrt(1 - 1/4)."""
    return AdaptiveClipping(
        noise_multiplier=1,
        init_clip_norm=0.5,
        num_sampled_clients=4,
        clip_count_stddev=1,
        server_side_noising=server_side_noising,
    )


def banded(bands: int) -> BandedNoise:
    """Return banded noise with k = 4 participations."""
    return BandedNoise(
        noise_multiplier=3,
        clipping_norm=0.5,
        num_sampled_clients=4,
        min_separation=4,
        max_participations=4,
        bands=bands,
    )


UPDATES_STD = 1 / math.sqrt(1 - 1 / 4)
METRIC = MetricNoise(noise_multiplier=3, clipping_norm=0.5, num_sampled_clients=4)

AT_COLLECTOR: dict[str, tuple[ProtectsCombined, float]] = {
    "dp-fixed": (fixed(), 3 * 0.5 / 4),
    "dp-adaptive": (adaptive(), UPDATES_STD * 0.5 / 4),
    "dp-banded with one band": (banded(1), 3 * 0.5 * 2 / 4),
    "dp-banded with two bands": (banded(2), 3 * 0.5 * 2 * math.hypot(1, 0.5) / 4),
    "metric-privacy": (METRIC, 3 / 0.25 * 0.5 / 4),
}


@pytest.mark.parametrize("name", AT_COLLECTOR)
def test_a_collector_adds_normal_noise_of_the_stated_deviation(name: str) -> None:
    """Kolmogorov-Smirnov over 200,000 numbers, at both halves and as pairs."""
    mechanism, std = AT_COLLECTOR[name]
    found = collector_noise(mechanism) / std
    for part in (found, found[::2], found[1::2]):
        assert stats.kstest(part, "norm").pvalue > LEAST_P
    for lag in (1, 2, 3, 64):
        assert stats.pearsonr(found[:-lag], found[lag:]).pvalue > LEAST_P
    radius, angle = np.hypot(found[::2], found[1::2]), np.arctan2(found[::2], found[1::2])
    assert stats.kstest(radius, "rayleigh").pvalue > LEAST_P
    assert stats.kstest(angle / math.pi, "uniform", (-1, 2)).pvalue > LEAST_P


BY_AGENTS: dict[str, tuple[ProtectsUpdate, stats.rv_continuous]] = {
    "dp-fixed": (fixed(server_side_noising=False), stats.norm(scale=3 * 0.5 / 2)),
    "dp-adaptive": (adaptive(server_side_noising=False), stats.norm(scale=UPDATES_STD * 0.5 / 2)),
    "ldp-gaussian": (
        LocalGaussian(noise_multiplier=3, clipping_norm=0.5, num_sampled_clients=4),
        stats.norm(scale=3 * 0.5),
    ),
    "ldp-laplace": (
        LocalLaplace(epsilon=0.1, clipping_norm=0.5, num_sampled_clients=4),
        stats.laplace(scale=2 * 0.5 / 0.1),
    ),
}


@pytest.mark.parametrize("name", BY_AGENTS)
def test_an_agent_adds_noise_of_the_stated_distribution(name: str) -> None:
    """Kolmogorov-Smirnov over 200,000 numbers in two tensors, and over the greatest ones."""
    mechanism, expected = BY_AGENTS[name]
    found = agent_noise(mechanism)
    assert stats.kstest(found, expected.cdf).pvalue > LEAST_P
    for lag in (1, 2, 3, NUMBERS // 2):
        assert stats.pearsonr(found[:-lag], found[lag:]).pvalue > LEAST_P
    limit = expected.ppf(0.99)
    tail = found[found > limit]
    assert stats.binomtest(tail.size, NUMBERS, 0.01).pvalue > LEAST_P
    excess = (expected.cdf(tail) - 0.99) / 0.01
    assert stats.kstest(excess, "uniform").pvalue > LEAST_P
    assert stats.pearsonr(found, agent_noise(mechanism, seed=1)).pvalue > LEAST_P


def test_the_noise_of_all_agents_adds_up_to_that_of_the_collector() -> None:
    """N agents each add a variance of (z C)² / n."""
    total = sum(agent_noise(fixed(server_side_noising=False), seed) for seed in range(4))
    assert stats.kstest(total / (3 * 0.5), "norm").pvalue > LEAST_P


def test_the_count_of_bits_has_noise_of_its_deviation() -> None:
    """The next norm gives it away: C' = C exp(-0.2 (1/2 + noise / n - 1/2))."""
    found = []
    for number in range(1, 5001):
        noise = KeyedNoise(KEY, "job", [step_of(number)], STRATEGY)
        numbers = adaptive().next_private_numbers({}, [], noise)
        found.append(-math.log(numbers["clipping_norm"] / 0.5) / 0.2 * 4)
    assert stats.kstest(found, "norm").pvalue > LEAST_P
    assert stats.pearsonr(found[:-1], found[1:]).pvalue > LEAST_P


def test_the_bits_of_agents_have_noise_of_their_share() -> None:
    """sigma_b / sqrt(n), around 1 or 0."""
    mechanism = adaptive(server_side_noising=False)
    short, long = (
        [
            mechanism.protect({"a": np.full(4, size, np.float32)}, training(seed)).norm_bit
            for seed in range(3000)
        ]
        for size in (0.0, 1.0)
    )
    assert stats.kstest(short, stats.norm(1, 0.5).cdf).pvalue > LEAST_P
    assert stats.kstest(long, stats.norm(0, 0.5).cdf).pvalue > LEAST_P
    facts = UpdateFacts(agent="a", examples=1, norm_bit=short[0])
    assert mechanism.refuses_update(facts, {}) == ""


def test_rounds_and_names_have_independent_noise() -> None:
    """Pairwise correlations of six rounds, and of steps back."""
    rounds = [collector_noise(fixed(), number) for number in range(1, 7)]
    assert all(stats.pearsonr(*pair).pvalue > LEAST_P for pair in combinations(rounds, 2))
    noise = round_noise(5)
    steps = [noise.normals(7, NUMBERS, back) for back in range(5)]
    assert all(stats.pearsonr(*pair).pvalue > LEAST_P for pair in combinations(steps, 2))
