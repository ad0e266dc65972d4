"""Each mechanism bounds at the agent, and exactly one side adds noise."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedbus.errors import TrainingError
from fedbus.plugins import Combined, ProtectsCombined, ProtectsUpdate, UpdateFacts
from fedbus.strategies.privacy_mechanisms.dp_adaptive import AdaptiveClipping
from fedbus.strategies.privacy_mechanisms.dp_banded import BandedNoise
from fedbus.strategies.privacy_mechanisms.dp_fixed import FixedClipping
from fedbus.strategies.privacy_mechanisms.ldp_gaussian import LocalGaussian
from fedbus.strategies.privacy_mechanisms.ldp_laplace import LocalLaplace
from fedbus.strategies.privacy_mechanisms.ldp_randomized_response import LocalRandomizedResponse
from fedbus.strategies.privacy_mechanisms.metric_privacy import MetricNoise
from fedbus.strategies.privacy_mechanisms.update_clipping import l1_norm, l2_norm
from tests.fedbus.strategies.privacy_mechanisms.sample_noise import (
    flat,
    round_noise,
    training,
    zeros,
)

Collector = Callable[..., "FixedClipping | AdaptiveClipping | BandedNoise | MetricNoise"]
LIMITS: dict[str, Any] = {"clipping_norm": 0.5, "num_sampled_clients": 4}
AT_COLLECTOR: dict[str, Collector] = {
    "dp-fixed": lambda **more: FixedClipping(noise_multiplier=3, **LIMITS, **more),
    "dp-adaptive": lambda **more: AdaptiveClipping(
        num_sampled_clients=4, init_clip_norm=0.5, clip_count_stddev=1, **more
    ),
    "dp-banded": lambda **more: BandedNoise(
        noise_multiplier=3, min_separation=2, max_participations=4, **LIMITS, **more
    ),
    "metric-privacy": lambda **more: MetricNoise(noise_multiplier=3, **LIMITS, **more),
}
BY_AGENTS: dict[str, ProtectsUpdate] = {
    "dp-fixed": FixedClipping(noise_multiplier=3, server_side_noising=False, **LIMITS),
    "dp-adaptive": AdaptiveClipping(
        num_sampled_clients=4, clip_count_stddev=1, server_side_noising=False
    ),
    "ldp-gaussian": LocalGaussian(noise_multiplier=3, **LIMITS),
    "ldp-laplace": LocalLaplace(epsilon=2, **LIMITS),
    "ldp-randomized-response": LocalRandomizedResponse(epsilon=2, **LIMITS),
}
LONG = {"a": np.linspace(-3, 5, 100_001).astype(np.float32)}


@pytest.mark.parametrize("name", AT_COLLECTOR)
def test_an_agent_only_clips_if_the_collector_adds_the_noise(name: str) -> None:
    """What is sent is a function of the update; the collector refuses what is longer."""
    mechanism = AT_COLLECTOR[name]()
    sent = mechanism.protect(LONG, training(1)).update
    assert 0.4999 < l2_norm(sent) <= 0.5
    assert np.array_equal(sent["a"], mechanism.protect(LONG, training(2)).update["a"])
    assert mechanism.collector_draws_noise
    assert mechanism.needs_norm
    bit = 1.0 if name == "dp-adaptive" else None
    kept, long = (
        UpdateFacts(agent="a", examples=1, norm=norm, norm_bit=bit)
        for norm in (l2_norm(sent), 0.5000001)
    )
    assert mechanism.refuses_update(kept, {}) == ""
    assert "the agent did not clip it" in mechanism.refuses_update(long, {})


@pytest.mark.parametrize("name", AT_COLLECTOR)
def test_a_collector_without_noise_computes_nothing(name: str) -> None:
    """A missing key must not become a mean without noise."""
    mechanism = AT_COLLECTOR[name]()
    numbers = {"used_clipping_norm": 0.5}
    combined = Combined(update=np.ones(3), agents=2, numbers=numbers, distance=1.0)
    with pytest.raises(ValueError, match=r"no noise was given: .* \(FEDBUS_NOISE_KEY\)"):
        mechanism.add_noise(combined, None)
    if name == "dp-adaptive":
        with pytest.raises(ValueError, match="no noise was given"):
            mechanism.next_private_numbers({}, [], None)
    else:
        assert mechanism.next_private_numbers({}, [], None) == {}


@pytest.mark.parametrize("name", AT_COLLECTOR)
def test_another_aggregator_s_result_is_clipped_and_gets_the_same_noise(name: str) -> None:
    """Its change by one agent is at most 2C: so the noise protects 2n times less."""
    plain, clips = AT_COLLECTOR[name](), AT_COLLECTOR[name](bounded_by="norm")
    assert (plain.needs_combined_norm, clips.needs_combined_norm) == (False, True)
    assert clips.noise_multiplier == plain.noise_multiplier / 8
    update = np.linspace(-30, 50, 1000)
    norm = float(np.linalg.norm(update))
    combined = Combined(
        update=update,
        agents=2,
        numbers={"used_clipping_norm": 0.5},
        norm=norm,
        distance=1.0,
        position=7,
    )
    zero = Combined(update=update * 0, agents=2, numbers=combined.numbers, distance=1.0, position=7)
    noise = plain.add_noise(zero, round_noise())
    found = clips.add_noise(combined, round_noise()) - noise
    assert found == pytest.approx(update * 0.5 / norm, abs=2e-6)
    with pytest.raises(ValueError, match="the norm of the combined update is None"):
        clips.add_noise(zero, round_noise())


@pytest.mark.parametrize("name", BY_AGENTS)
def test_a_collector_adds_nothing_if_agents_draw_the_noise(name: str) -> None:
    """Two agents with one update send different ones, and none is refused for its length."""
    mechanism = BY_AGENTS[name]
    one, other = (mechanism.protect(LONG, training(seed)).update["a"] for seed in (1, 2))
    assert np.corrcoef(one, other)[0, 1] < 0.9
    assert one.dtype == np.float32
    if not isinstance(mechanism, ProtectsCombined):
        assert not getattr(mechanism, "collector_draws_noise", False)
        return
    assert not getattr(mechanism, "needs_norm", True)
    facts = UpdateFacts(agent="a", examples=1, norm_bit=0.3)
    assert mechanism.refuses_update(facts, {}) == ""
    combined = Combined(update=np.ones(3), agents=2)
    assert mechanism.add_noise(combined, None) is combined.update


@pytest.mark.parametrize("name", [*AT_COLLECTOR, *BY_AGENTS])
def test_no_mechanism_lets_an_update_without_a_norm_leave(name: str) -> None:
    """Neither NaN nor infinity."""
    mechanism = BY_AGENTS[name] if name in BY_AGENTS else AT_COLLECTOR[name]()
    for wrong in (np.nan, np.inf):
        with pytest.raises(TrainingError, match="the training diverged"):
            mechanism.protect({"a": np.array([1, wrong], np.float32)}, training())


def test_laplace_noise_is_for_the_l1_norm() -> None:
    """100,001 numbers of L2 norm 0.5 would have an L1 norm of more than 100."""
    mechanism = LocalLaplace(epsilon=10_000, **LIMITS)
    sent = mechanism.protect({"a": np.array([3, -4, 1], np.float32)}, training()).update
    assert l1_norm(sent) == pytest.approx(0.5, rel=1e-2)
    assert mechanism.noise_multiplier == 1e-4


@pytest.mark.parametrize("epsilon", [0.5, 2.0, 8.0])
def test_randomized_response_sends_one_of_two_values_whose_mean_is_the_number(
    epsilon: float,
) -> None:
    """And tells any two numbers apart by at most a factor of e^ε."""
    mechanism = LocalRandomizedResponse(epsilon=epsilon, **LIMITS)
    value = 0.5 * (math.exp(epsilon) + 1) / (math.exp(epsilon) - 1)
    shares = []
    for number in (-9.0, -0.5, 0.2, 0.5, 9.0):
        update = {"a": np.full(400_000, number, np.float32)}
        sent = flat(mechanism.protect(update, training()).update)
        assert np.abs(sent) == pytest.approx(value, rel=1e-6)
        clipped = min(max(number, -0.5), 0.5)
        assert sent.mean() == pytest.approx(clipped, abs=4 * value / math.sqrt(sent.size))
        shares.append(float((sent > 0).mean()))
    least = 1 / (math.exp(epsilon) + 1)
    rel = 4 / math.sqrt(400_000 * least)
    assert shares[0] == pytest.approx(least, rel=rel)
    assert shares[-1] / shares[0] == pytest.approx(math.exp(epsilon), rel=2 * rel)
    # dp_accounting's event: with this probability the bit is uniform, else true.
    drawn = mechanism.noise_multiplier
    assert (1 - drawn / 2) / (drawn / 2) == pytest.approx(math.exp(epsilon), rel=1e-12)


@pytest.mark.parametrize(
    ("agents", "distance", "expected"),
    [(3, 0.25, 4.0), (2, 2.0, 0.5), (1, 0.25, 1.0), (1, 0.0, 1.0), (3, 0.0, 1.0), (3, 1e-8, 1.0)],
)
def test_metric_privacy_adds_noise_in_inverse_proportion_to_the_distance(
    agents: int, distance: float, expected: float
) -> None:
    """Without a distance it is that of dp-fixed."""
    noise = round_noise()
    metric = MetricNoise(noise_multiplier=3, **LIMITS)
    fixed = FixedClipping(noise_multiplier=3, **LIMITS)
    combined = Combined(update=np.zeros(1000), agents=agents, distance=distance)
    found = metric.add_noise(combined, noise)
    assert found == pytest.approx(fixed.add_noise(combined, noise) * expected, abs=4e-6)
    assert metric.needs_distance


@pytest.mark.parametrize("distance", [None, math.nan, math.inf])
def test_metric_privacy_needs_a_distance(distance: float | None) -> None:
    """A comparison with NaN is false, which would mean no guard."""
    metric = MetricNoise(noise_multiplier=3, **LIMITS)
    combined = Combined(update=np.zeros(3), agents=2, distance=distance)
    with pytest.raises(ValueError, match="the greatest distance of two updates is"):
        metric.add_noise(combined, round_noise())


def test_an_update_of_zeros_stays_one() -> None:
    """Its norm is 0, by which nothing is divided."""
    mechanism = AT_COLLECTOR["dp-fixed"]()
    assert not flat(mechanism.protect(zeros(), training()).update).any()
