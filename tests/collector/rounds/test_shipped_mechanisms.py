"""Rounds of the mechanisms that fedbus ships, from a job's keys to the numbers of its version."""

from dataclasses import replace
from math import exp, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedbus.jobs import JobFile
from fedbus.privacy.noise import KeyedNoise
from fedbus.strategies.resolution import resolve_job
from fedbus.wire.messages import OpenRound
from fedbus.wire.privacy import LedgerEntry, NoiseStep
from fedbus.wire.strategies import Strategy, StrategyState, TrainingFacts
from fedbus_collector.collector_parts import PartsFactory
from tests.collector.harness import JOB, A, B, C, blob, offer, order
from tests.collector.private_rounds import SPENT, PrivateRound

ONES = np.array([2.0] * 3 + [1.0] * 6)
"""The numbers of the tiny model's tensors, in the order of its layout."""
NORM = sqrt(18.0)
"""That of an update of ones."""
FIXED: dict[str, Any] = {"noise_multiplier": 1.5, "clipping_norm": 9, "num_sampled_clients": 4}
GIVEN = {A: 0.5, B: 1.0, C: 1.5}


def strategy_of(mechanism: str, keys: dict[str, Any], strategy: object = "fedavg") -> Strategy:
    """Resolve the strategy of a job with a mechanism, as the controller does."""
    tree = {"model_name": "tiny", "num_rounds": 3, "strategy": strategy}
    return resolve_job(JobFile.model_validate({**tree, "privacy-mechanisms": {mechanism: keys}}))


class ShippedRound(PrivateRound):
    """A private round of a shipped mechanism."""

    def __init__(self, folder: Path, strategy: Strategy) -> None:
        super().__init__(folder, parts=PartsFactory())
        self.strategy = strategy

    def order(self, **changes: Any) -> OpenRound:  # noqa: ANN401 - of a plan
        """Order the round."""
        by_collector = self.strategy.privacy and self.strategy.privacy.noise == "collector"
        key = self.noise_key.digest if by_collector else None
        return order(strategy=self.strategy, noise_key=key, **changes)

    def collect(self, facts: TrainingFacts | None = None, **changes: Any) -> LedgerEntry:  # noqa: ANN401 - of a plan
        """Receive the updates, and return the entry."""
        self.begin(**changes)
        for agent, value in GIVEN.items():
            update = blob(value, "delta")
            more = {} if facts is None else {"facts": facts}
            self.receive(agent, offer(update, 1, inline=update, **more))
            self.run_calls()
        return self.entry

    def drawn(self, *steps: NoiseStep) -> KeyedNoise:
        """Return the noise of these steps."""
        return KeyedNoise(self.noise_key, JOB, steps, self.strategy)


def step_of(entry: LedgerEntry) -> NoiseStep:
    """Return what the noise of an entry is drawn from."""
    assert entry.updates is not None
    return NoiseStep(round=entry.round, task=entry.task, updates=entry.updates)


def assert_version(round_: ShippedRound, wanted: NDArray[Any]) -> None:
    """Compare the version's update with what is wanted, but for rounding to the grid."""
    np.testing.assert_allclose(round_.version() - ONES, wanted, rtol=1e-5, atol=1e-5)


def test_dp_fixed(tmp_path: Path) -> None:
    """The sum of three updates and the noise, over the four that were wanted."""
    round_ = ShippedRound(tmp_path, strategy_of("dp-fixed", FIXED))
    entry = round_.collect()
    assert (entry.agents, entry.noise_multiplier) == ((A, B, C), 1.5)
    round_.record()
    normals = round_.drawn(step_of(entry)).normals(0, 9)
    assert_version(round_, (3 * ONES + 1.5 * 9 * normals) / 4)
    assert [c.coefficient for c in round_.commit.record.contributors] == [0.25] * 3


def test_dp_fixed_refuses_what_an_agent_did_not_clip(tmp_path: Path) -> None:
    """The sentence is for the agent, not for the public."""
    round_ = ShippedRound(tmp_path, strategy_of("dp-fixed", {**FIXED, "clipping_norm": 5}))
    entry = round_.collect()
    assert entry.agents == (A, B)
    round_.record()
    (refusal,) = round_.commit.record.refusals
    assert (refusal.agent, "6.36396" in refusal.reason) == (C, True)


def test_dp_fixed_with_noise_of_agents(tmp_path: Path) -> None:
    """No key, no noise here; the entry says how much the three that came have added."""
    keys = {**FIXED, "server_side_noising": False}
    round_ = ShippedRound(tmp_path, strategy_of("dp-fixed", keys))
    entry = round_.collect()
    assert entry.noise_multiplier == 1.5 * sqrt(3 / 4)
    assert entry.updates is not None
    round_.record()
    assert_version(round_, 3 * ONES / 4)


def test_dp_fixed_with_a_median_clips_what_is_combined(tmp_path: Path) -> None:
    """Its sensitivity is 2C, so the entry's multiplier is an eighth."""
    keys = {**FIXED, "clipping_norm": 7}
    round_ = ShippedRound(tmp_path, strategy_of("dp-fixed", keys, "median"))
    entry = round_.collect()
    assert entry.noise_multiplier == 1.5 / 8
    round_.record()
    normals = round_.drawn(step_of(entry)).normals(0, 9)
    assert_version(round_, ONES + 1.5 * 7 / 4 * normals)


def test_dp_adaptive(tmp_path: Path) -> None:
    """The norm of the state bounds this round; the next one is in the record."""
    keys = {"num_sampled_clients": 4, "noise_multiplier": 0.3, "clip_count_stddev": 0.2}
    round_ = ShippedRound(tmp_path, strategy_of("dp-adaptive", keys))
    before = StrategyState(rounds=2, numbers={"clipping_norm": 8.0})
    entry = round_.collect(TrainingFacts(norm_bit=1.0), state=before)
    round_.record()
    noise = round_.drawn(step_of(entry))
    std = (0.3**-2 - (2 * 0.2) ** -2) ** -0.5
    assert_version(round_, (3 * ONES + std * 8 * noise.normals(0, 9)) / 4)
    state = round_.commit.record.state
    assert state is not None
    assert state.numbers["used_clipping_norm"] == 8.0
    low, high = (8 * exp(-0.2 * (0.5 + (1.5 + 0.2 * far) / 4 - 0.5)) for far in (5, -5))
    assert low < state.numbers["clipping_norm"] < high


def test_dp_banded(tmp_path: Path) -> None:
    """Half of the noise of the step before is taken back."""
    keys = {**FIXED, "min_separation": 2, "max_participations": 2}
    round_ = ShippedRound(tmp_path, strategy_of("dp-banded", keys))
    entry = round_.collect()
    earlier = NoiseStep(round=1, task=1, updates="0" * 64)
    steps = (earlier, step_of(entry))
    round_.record(steps=steps, spent=replace(SPENT, entries=2))
    noise = round_.drawn(*steps)
    drawn = noise.normals(0, 9) - noise.normals(0, 9, back=1) / 2
    sensitivity = sqrt(2) * sqrt(1 + 1 / 4)
    assert_version(round_, (3 * ONES + 1.5 * 9 * sensitivity * drawn) / 4)


def test_metric_privacy(tmp_path: Path) -> None:
    """The updates are kept to be compared: the greatest distance divides the noise."""
    round_ = ShippedRound(tmp_path, strategy_of("metric-privacy", FIXED))
    entry = round_.collect()
    assert entry.noise_multiplier == 0.0
    round_.record(spent=replace(SPENT, epsilon=None))
    distance = (sqrt(6) + sqrt(12)) / 2
    normals = round_.drawn(step_of(entry)).normals(0, 9)
    assert_version(round_, (3 * ONES + 1.5 / distance * 9 * normals) / 4)
    assert round_.commit.record.privacy == replace(SPENT, epsilon=None)


@pytest.mark.parametrize(
    ("mechanism", "keys"),
    [
        ("ldp-laplace", {"epsilon": 8, "clipping_norm": 1, "num_sampled_clients": 4}),
        ("ldp-gaussian", {"noise_multiplier": 1, "clipping_norm": 1, "num_sampled_clients": 4}),
        ("ldp-randomized-response", {"epsilon": 1, "clipping_norm": 1, "num_sampled_clients": 4}),
        ("dp-sgd", {"noise_multiplier": 1, "max_grad_norm": 1, "least_examples": 100}),
    ],
)
def test_what_agents_protect_alone_is_combined_as_it_is(
    mechanism: str, keys: dict[str, Any], tmp_path: Path
) -> None:
    """Longer updates than the clipping norm come in, since they have noise; no key is needed."""
    round_ = ShippedRound(tmp_path, strategy_of(mechanism, keys))
    entry = round_.collect()
    assert (entry.agents, entry.updates) == ((A, B, C), None)
    round_.record()
    share = sum(c.coefficient or 0.0 for c in round_.commit.record.contributors)
    assert_version(round_, ONES * share)
    assert round_.commit.record.metrics == {}
