"""Every number that leaves a mechanism with noise is on the grid of that noise.

Without the rounding the lowest bits of a float64 tell two updates apart (Mironov 2012), and nothing
else that these mechanisms do would change.
"""

from math import log, sqrt

import numpy as np
import pytest

from fedbus.plugins import Block, Combined, ProtectsCombined, ProtectsUpdate, UpdateFacts
from fedbus.privacy.noise_numbers import grid_step
from fedbus.strategies.privacy_mechanisms.dp_adaptive import AdaptiveClipping
from fedbus.strategies.privacy_mechanisms.dp_banded import BandedNoise
from fedbus.strategies.privacy_mechanisms.dp_fixed import FixedClipping
from fedbus.strategies.privacy_mechanisms.ldp_gaussian import LocalGaussian
from fedbus.strategies.privacy_mechanisms.ldp_laplace import LocalLaplace
from fedbus.strategies.privacy_mechanisms.metric_privacy import MetricNoise
from tests.fedbus.strategies.privacy_mechanisms.sample_noise import flat, round_noise, training

CLIENTS, NORM, NOISE = 4, 0.7, 3.0
UPDATE = np.sin(np.arange(1, 5001))
"""Irregular numbers: none is on a grid by itself."""
PER_UPDATE = (1 - 0.25) ** -0.5
"""What is left of a noise multiplier of 1 beside a count with deviation 1."""


def fixed(*, server_side_noising: bool = True) -> FixedClipping:
    """The mechanism dp-fixed."""
    return FixedClipping(
        noise_multiplier=NOISE,
        clipping_norm=NORM,
        num_sampled_clients=CLIENTS,
        server_side_noising=server_side_noising,
    )


def adaptive(*, server_side_noising: bool = True) -> AdaptiveClipping:
    """The mechanism dp-adaptive, whose count and updates have noise."""
    return AdaptiveClipping(
        num_sampled_clients=CLIENTS,
        init_clip_norm=NORM,
        clip_count_stddev=1,
        server_side_noising=server_side_noising,
    )


BANDED = BandedNoise(
    noise_multiplier=NOISE,
    clipping_norm=NORM,
    num_sampled_clients=CLIENTS,
    min_separation=2,
    max_participations=1,
)
METRIC = MetricNoise(noise_multiplier=NOISE, clipping_norm=NORM, num_sampled_clients=CLIENTS)


def off_grid(numbers: Block, scale: float) -> int:
    """Count the numbers that are no multiple of the grid's step for noise of this scale."""
    steps = numbers / grid_step(scale)  # exact: the step is a power of two
    return int(np.count_nonzero(steps != np.rint(steps)))


@pytest.mark.parametrize(
    ("mechanism", "scale"),
    [
        (fixed(), NOISE * NORM / CLIENTS),
        (adaptive(), PER_UPDATE * NORM / CLIENTS),
        (METRIC, NOISE / 0.3 * NORM / CLIENTS),
    ],
    ids=["dp-fixed", "dp-adaptive", "metric-privacy"],
)
def test_what_a_collector_adds_to_the_base_is_on_the_grid(
    mechanism: ProtectsCombined, scale: float
) -> None:
    """In float64, in which the aggregate is computed."""
    numbers = {"used_clipping_norm": NORM}
    combined = Combined(update=UPDATE, agents=3, numbers=numbers, distance=0.3)
    assert off_grid(mechanism.add_noise(combined, round_noise()), scale) == 0
    assert off_grid(UPDATE, scale) == len(UPDATE)


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_banded_noise_is_on_the_grid_in_each_round(rounds: int) -> None:
    """Also where it holds noise of earlier rounds: the sum is rounded, not each part."""
    found = BANDED.add_noise(Combined(update=UPDATE, agents=3), round_noise(rounds))
    scale = BANDED._std  # noqa: SLF001 - it depends on the factorization
    assert off_grid(found, scale) == 0


@pytest.mark.parametrize(
    ("mechanism", "scale"),
    [
        (fixed(server_side_noising=False), NOISE * NORM / sqrt(CLIENTS)),
        (adaptive(server_side_noising=False), PER_UPDATE * NORM / sqrt(CLIENTS)),
        (
            LocalGaussian(noise_multiplier=NOISE, clipping_norm=NORM, num_sampled_clients=CLIENTS),
            NOISE * NORM,
        ),
        (LocalLaplace(epsilon=2, clipping_norm=NORM, num_sampled_clients=CLIENTS), NORM),
    ],
    ids=["dp-fixed", "dp-adaptive", "ldp-gaussian", "ldp-laplace"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_an_agent_sends_is_on_the_grid(
    mechanism: ProtectsUpdate, scale: float, dtype: type[np.float32 | np.float64]
) -> None:
    """In the update's own precision."""
    sent = mechanism.protect({"a": UPDATE.astype(dtype)}, training()).update
    assert sent["a"].dtype == dtype
    assert off_grid(flat(sent), scale) == 0


def test_the_norm_bit_that_an_agent_sends_is_on_the_grid() -> None:
    """It has noise as the update has."""
    for seed in range(20):
        sent = adaptive(server_side_noising=False).protect({"a": UPDATE}, training(seed))
        assert sent.norm_bit is not None
        assert off_grid(np.array([sent.norm_bit]), 1 / sqrt(CLIENTS)) == 0


def test_the_count_of_norm_bits_is_on_the_grid() -> None:
    """The next clipping norm is a function of it, from which it can be computed again."""
    facts = [UpdateFacts(agent=f"agent.{n}", examples=1, norm_bit=1.0) for n in range(3)]
    for rounds in range(1, 20):
        numbers = adaptive().next_private_numbers({}, facts, round_noise(rounds))
        share = 0.5 - log(numbers["clipping_norm"] / NORM) / 0.2
        steps = (share - 0.5) * CLIENTS / grid_step(1.0)
        assert steps == pytest.approx(round(steps), abs=1e-6)
