"""Noise in the mean of encrypted, masked and plain updates, beside what the ledger says of it."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pytest

from fedbus.jobs import JobFile
from fedbus.model.fixed_point import from_fixed_point, half, to_fixed_point
from fedbus.model.layout import Layout
from fedbus.plugins import Block, PrivateTraining
from fedbus.privacy.ledger_entries import noise_multiplier_of
from fedbus.strategies.encryption_key_faults import UNKNOWN_KEY
from fedbus.strategies.privacy_mechanisms.dp_adaptive import AdaptiveClipping
from fedbus.strategies.privacy_mechanisms.dp_fixed import FixedClipping
from fedbus.strategies.resolution import resolve_job
from fedbus.wire.strategies import Strategy
from tests.fedbus.strategies.privacy_mechanisms.sample_noise import flat, secret_noise, zeros

AGENTS: Final = 8
NORM: Final = 20.0
"""More than the default first range, 1, of which an agent's share of noise has no room."""
MULTIPLIER: Final = 0.7
LAYOUT = Layout.of(zeros())
NORM_KEYS = {"dp-fixed": "clipping_norm", "dp-adaptive": "init_clip_norm"}
PLAIN, HE, SA = "plain", "homomorphic", "secure-aggregation"


@dataclass(frozen=True)
class HiddenMean:
    """The mean of a round, and what its sum was divided by."""

    mean: Block
    divisor: int


def strategy_of(protection: str, name: str) -> Strategy:
    """Resolve a job whose agents draw the noise."""
    own: dict[str, Any] = {
        "noise_multiplier": MULTIPLIER,
        "num_sampled_clients": AGENTS,
        "server_side_noising": False,
        NORM_KEYS[name]: NORM,
    }
    mechanisms: dict[str, Any] = {name: own}
    if protection != PLAIN:
        mechanisms[protection] = {}
    tree = {"model_name": "m", "num_rounds": 1, "privacy-mechanisms": mechanisms}
    return resolve_job(JobFile.model_validate(tree), encryption=UNKNOWN_KEY)


def mean_of(strategy: Strategy, came: int) -> HiddenMean:
    """Return the mean of updates of zeros, with the shares of noise of those agents that came."""
    mechanisms = {"dp-fixed": FixedClipping, "dp-adaptive": AdaptiveClipping}
    choice = strategy.update_transforms[-1]
    mechanism = mechanisms[choice.id](**choice.parameters)
    divisor = strategy.aggregator.parameters.get("divisor", came)
    assert isinstance(divisor, int)
    updates = [
        mechanism.protect(
            zeros(), PrivateTraining(noise=secret_noise(agent), numbers={}, cohort=AGENTS)
        ).update
        for agent in range(came)
    ]
    fixed_point = strategy.fixed_point
    if fixed_point is None:
        return HiddenMean(np.sum([flat(each) for each in updates], axis=0) / divisor, divisor)
    ranges, bits = (fixed_point.first_range,) * len(LAYOUT.shared), fixed_point.bits
    rng = np.random.default_rng(5)
    total = np.sum(
        [to_fixed_point(each, LAYOUT, ranges, bits, 1.0, rng) for each in updates], axis=0
    )
    return HiddenMean(flat(from_fixed_point(total, LAYOUT, ranges, bits, came, divisor)), divisor)


@pytest.mark.parametrize("name", ["dp-fixed", "dp-adaptive"])
@pytest.mark.parametrize("protection", [PLAIN, HE, SA])
@pytest.mark.parametrize("came", [AGENTS, AGENTS // 2, 3])
def test_the_noise_of_a_mean_is_what_the_ledger_says(protection: str, name: str, came: int) -> None:
    """Also if agents drop out: fewer shares are in the sum, and the entry states that multiplier.

    The noise of updates is greater than that of both releases together with `dp-adaptive`, whose
    bits have the rest of the budget.
    """
    strategy = strategy_of(protection, name)
    assert strategy.privacy is not None
    found = mean_of(strategy, came)
    assert found.divisor == (came if protection == HE else AGENTS)
    expected = noise_multiplier_of(strategy.privacy, came)
    if name == "dp-adaptive":
        bits = AGENTS / 20
        expected *= (MULTIPLIER**-2 - (2 * bits) ** -2) ** -0.5 / MULTIPLIER
    deviation = found.mean.std() * found.divisor / NORM
    assert deviation == pytest.approx(expected, rel=0.01)
    assert abs(found.mean.mean()) < 5 * found.mean.std() / len(found.mean) ** 0.5
    # Six standard deviations of a share have room, so none was cut.
    if (fixed_point := strategy.fixed_point) is not None:
        share = deviation * NORM / came**0.5
        assert 2.0**fixed_point.first_range >= NORM + 6 * share * 0.98
        step = 2.0**fixed_point.first_range / half(fixed_point.bits)
        assert step < share / 5  # rounding adds less than a hundredth to it


@pytest.mark.parametrize("came", [AGENTS, 3])
def test_means_of_one_round_differ_by_their_divisor_alone(came: int) -> None:
    """An encrypted sum is divided by the updates that came: the signal and the noise are alike."""
    plain, masked, encrypted = (
        mean_of(strategy_of(each, "dp-fixed"), came) for each in (PLAIN, SA, HE)
    )
    assert plain.divisor == masked.divisor == AGENTS
    assert np.abs(plain.mean - masked.mean).max() < 2.0**-8
    scaled = encrypted.mean * came / AGENTS
    assert np.corrcoef(plain.mean, scaled)[0, 1] > 0.999
    assert scaled.std() == pytest.approx(plain.mean.std(), rel=0.01)
