"""Adaptive clipping as the paper and Flower compute it."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from fedbus.plugins import Block, Combined, UpdateFacts
from fedbus.strategies.privacy_mechanisms.dp_adaptive import AdaptiveClipping
from tests.fedbus.strategies.privacy_mechanisms.sample_noise import round_noise, training


class UnitNoise:
    """Noise of one standard deviation, so that formulas can be compared number by number."""

    step = 0

    def __init__(self, size: float = 1.0) -> None:
        self.size = size

    def normals(self, _start: int, count: int, /, back: int = 0) -> Block:
        """Return the same number."""
        del back
        return np.full(count, self.size)

    def normal(self, _name: str, /) -> float:
        """Return it once."""
        return self.size


def facts_of(bits: Sequence[float]) -> list[UpdateFacts]:
    """Return the facts of updates with these bits."""
    return [UpdateFacts(agent=f"a{n}", examples=1, norm_bit=b) for n, b in enumerate(bits)]


def test_rounds_are_those_of_the_paper_s_algorithm() -> None:
    """Algorithm 1 of arXiv 1905.03871, written down again with its letters, noise included."""
    z, sigma_b, m, gamma, eta, clip = 1.3, 1.0, 20, 0.4, 0.3, 0.1
    mechanism = AdaptiveClipping(
        noise_multiplier=z,
        clip_count_stddev=sigma_b,
        num_sampled_clients=m,
        clip_norm_target_quantile=gamma,
        clip_norm_lr=eta,
        init_clip_norm=clip,
    )
    rng = np.random.default_rng(0)
    z_delta = (z**-2 - (2 * sigma_b) ** -2) ** -0.5
    numbers: dict[str, float] = {}
    for _ in range(10):
        deltas = [(rng.lognormal(-1, 1) * rng.normal(size=8)).astype(np.float32) for _ in range(m)]
        draws = rng.normal(size=2)
        # FedAvg(i): b, then clipped; then the server's three lines.
        b = [1.0 if np.linalg.norm(each.astype(np.float64)) <= clip else 0.0 for each in deltas]
        shorter = [
            each * min(1.0, clip / float(np.linalg.norm(each.astype(np.float64))))
            for each in deltas
        ]
        sigma_delta = z_delta * clip
        delta = (sum(shorter) + sigma_delta * draws[0]) / m
        b_tilde = (sum(b) + sigma_b * draws[1]) / m
        expected = clip * math.exp(-eta * (b_tilde - gamma))

        sent = [mechanism.protect({"w": each}, training(numbers=numbers)) for each in deltas]
        assert [each.norm_bit for each in sent] == b
        new = mechanism.next_private_numbers(numbers, facts_of(b), UnitNoise(draws[1]))
        assert new == {
            "clipping_norm": pytest.approx(expected, rel=1e-6),
            "used_clipping_norm": pytest.approx(clip, rel=1e-6),
        }
        mean = np.sum([each.update["w"].astype(np.float64) for each in sent], axis=0) / m
        combined = Combined(update=mean, agents=m, numbers=new)
        assert mechanism.add_noise(combined, UnitNoise(draws[0])) == pytest.approx(
            delta, rel=1e-5, abs=1e-6 * sigma_delta
        )
        numbers, clip = {**numbers, **new}, new["clipping_norm"]


def test_flower_s_formulas_give_the_same_norms() -> None:
    """Literally `compute_adaptive_noise_params` and `_update_clip_norm`, without noise."""

    def compute_adaptive_noise_params(
        noise_multiplier: float, num_sampled_clients: float, clipped_count_stddev: float | None
    ) -> tuple[float, float]:
        if clipped_count_stddev is None:
            clipped_count_stddev = num_sampled_clients / 20
        return (
            noise_multiplier ** (-2) - (2 * clipped_count_stddev) ** (-2)
        ) ** -0.5, clipped_count_stddev

    def update_clip_norm(
        clipping_norm: float, norm_bits: list[bool], target: float, rate: float
    ) -> float:
        noised_fraction = float(sum(norm_bits)) / len(norm_bits)
        return clipping_norm * math.exp(-rate * (noised_fraction - target))

    mechanism = AdaptiveClipping(num_sampled_clients=40)
    z_delta, stddev = compute_adaptive_noise_params(1.0, 40, None)
    numbers = mechanism.next_private_numbers({}, facts_of([1.0] * 10 + [0.0] * 30), UnitNoise(0))
    assert numbers["clipping_norm"] == pytest.approx(
        update_clip_norm(0.1, [True] * 10 + [False] * 30, 0.5, 0.2), rel=1e-9
    )
    noised = mechanism.add_noise(
        Combined(update=np.zeros(3), agents=40, numbers=numbers), UnitNoise()
    )
    assert noised == pytest.approx(np.full(3, z_delta * 0.1 / 40), rel=1e-5)
    shifted = mechanism.next_private_numbers({}, facts_of([1.0] * 20 + [0.0] * 20), UnitNoise())
    assert shifted["clipping_norm"] == pytest.approx(0.1 * math.exp(-0.2 * stddev / 40), rel=1e-6)


@pytest.mark.parametrize("bit", [0.0, 1.0])
def test_one_agent_changes_the_sum_of_bits_by_a_half(bit: float) -> None:
    """Whether it takes part or not: so the norm of a round must not tell how many came."""
    mechanism = AdaptiveClipping(num_sampled_clients=20, clip_norm_lr=1.0)
    with_it = mechanism.next_private_numbers({}, facts_of([1.0, 0.0, bit]), UnitNoise())
    without = mechanism.next_private_numbers({}, facts_of([1.0, 0.0]), UnitNoise())
    change = math.log(with_it["clipping_norm"] / without["clipping_norm"])
    assert abs(change) == pytest.approx(0.5 / 20, rel=1e-4)


def test_the_norm_converges_to_the_quantile() -> None:
    """Of lognormal norms, with the noise of a job of 100 agents."""
    mechanism = AdaptiveClipping(num_sampled_clients=100, clip_norm_target_quantile=0.8)
    rng, norms = np.random.default_rng(0), []
    numbers: dict[str, float] = {}
    for number in range(1, 301):
        limit = numbers.get("clipping_norm", 0.1)
        bits = (rng.lognormal(0, 1, 100) <= limit).astype(float)
        numbers = dict(
            mechanism.next_private_numbers(numbers, facts_of(bits.tolist()), round_noise(number))
        )
        norms.append(numbers["clipping_norm"])
    assert np.median(norms[100:]) == pytest.approx(math.exp(0.8416), rel=0.1)


def test_the_norm_stays_within_its_bounds() -> None:
    """However long every update is too long, or too short."""
    mechanism = AdaptiveClipping(num_sampled_clients=1, clip_count_stddev=1, clip_norm_lr=10)
    many = [0.0] * 10_000
    assert mechanism.next_private_numbers({"clipping_norm": 9e5}, facts_of(many), UnitNoise()) == {
        "clipping_norm": 1e6,
        "used_clipping_norm": 9e5,
    }
    few = mechanism.next_private_numbers(
        {"clipping_norm": 1e-11}, facts_of([1.0] * 99), UnitNoise()
    )
    assert few["clipping_norm"] == 1e-12


@pytest.mark.parametrize(
    ("bit", "norm", "said"),
    [
        (None, 0.1, "it has no bit that says whether the update was clipped: norm_bit is None"),
        (math.nan, 0.1, "norm_bit is nan"),
        (0.5, 0.1, "norm_bit: expected 0 or 1, got 0.5"),
        (1.0, 0.3, "its update has the norm 0.3, and the limit is 0.2: the agent did not clip it"),
        (1.0, math.nan, "its update has the norm nan, and the limit is 0.2"),
        (1.0, None, "the norm of its update was not measured"),
        (1.0, 0.2, ""),
        (0.0, 0.0, ""),
    ],
)
def test_an_update_that_breaks_a_bound_is_refused(
    bit: float | None, norm: float | None, said: str
) -> None:
    """A bit of 100 would move the norm by more than what is accounted."""
    mechanism = AdaptiveClipping(num_sampled_clients=20)
    facts = UpdateFacts(agent="a", examples=1, norm_bit=bit, norm=norm)
    reason = mechanism.refuses_update(facts, {"clipping_norm": 0.2})
    assert said in reason
    assert bool(reason) == bool(said)


@pytest.mark.parametrize(
    ("bit", "refused"), [(1e9, True), (-5.51, True), (6.51, True), (6.5, False)]
)
def test_a_bit_with_noise_that_no_agent_draws_is_refused(bit: float, refused: bool) -> None:
    """One agent's bit of 1e9 would move the next norm by a factor of e^20."""
    mechanism = AdaptiveClipping(
        num_sampled_clients=4, server_side_noising=False, clip_count_stddev=1
    )
    facts = UpdateFacts(agent="a", examples=1, norm_bit=bit)
    reason = mechanism.refuses_update(facts, {})
    said = f"norm_bit: expected 0 or 1 with noise, from -5.5 to 6.5, got {bit!r}"
    assert reason == (said if refused else "")


def test_with_the_agents_noise_the_collector_adds_none() -> None:
    """Exactly one side draws it: the sum of noised bits is used as it is."""
    mechanism = AdaptiveClipping(
        num_sampled_clients=4, server_side_noising=False, clip_count_stddev=1
    )
    assert (mechanism.collector_draws_noise, mechanism.needs_norm) == (False, False)
    numbers = mechanism.next_private_numbers({}, facts_of([1.25, -0.5, 1.0, 0.25]), None)
    assert numbers["clipping_norm"] == pytest.approx(0.1, rel=1e-12)
    combined = Combined(update=np.ones(3), agents=4, numbers=numbers)
    assert mechanism.add_noise(combined, None) is combined.update
    with pytest.raises(ValueError, match="the update of a0 has no norm_bit"):
        mechanism.next_private_numbers({}, [UpdateFacts(agent="a0", examples=1)], None)


@pytest.mark.parametrize(("multiplier", "stddev"), [(1.0, None), (0.4, 0.3), (3.0, 5.0)])
def test_both_releases_together_protect_as_the_multiplier_says(
    multiplier: float, stddev: float | None
) -> None:
    """An agent's greatest change, measured in the noise of updates and of bits, is 1 / z."""
    mechanism = AdaptiveClipping(
        num_sampled_clients=40,
        noise_multiplier=multiplier,
        clip_count_stddev=stddev,
        init_clip_norm=2.5,
        clip_norm_lr=1.0,
    )
    norms = [
        mechanism.next_private_numbers({}, facts_of(bits), UnitNoise(size))["clipping_norm"]
        for bits, size in (([], 0.0), ([1.0], 0.0), ([], 1.0))
    ]
    nothing, bit, noise = map(math.log, norms)
    numbers = {"used_clipping_norm": 2.5}
    combined = Combined(update=np.zeros(1), agents=40, numbers=numbers)
    std = float(mechanism.add_noise(combined, UnitNoise())[0])
    change = math.hypot(2.5 / 40 / std, (bit - nothing) / (noise - nothing))
    assert change == pytest.approx(1 / multiplier, rel=1e-5)
