"""Second implementations of the privacy mechanisms agree with those of the services, or differ."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fedbus.plugins import Combined, UpdateFacts
from fedbus.privacy.noise import KeyedNoise
from fedbus.privacy.noise_key import NoiseKey
from fedbus.simulation.reference_privacy import (
    REFERENCE_MECHANISMS,
    PrivateRound,
    Protected,
    reference_protection,
)
from fedbus.strategies.privacy_mechanisms.dp_adaptive import AdaptiveClipping
from fedbus.strategies.privacy_mechanisms.dp_banded import BandedNoise
from fedbus.strategies.privacy_mechanisms.dp_fixed import FixedClipping
from fedbus.strategies.privacy_mechanisms.metric_privacy import MetricNoise
from fedbus.training.params import PluginChoice
from fedbus.wire.privacy import NoiseStep
from fedbus.wire.strategies import Strategy

COHORT, SIZES = 3, (2, 5)
KEY = NoiseKey(bytes(range(32)))
STRATEGY = Strategy(id="fedavg", aggregator=PluginChoice(id="mean"))
FIXED = {"noise_multiplier": 1.5, "clipping_norm": 2.0, "num_sampled_clients": COHORT}
ADAPTIVE = {
    "noise_multiplier": 0.5,
    "init_clip_norm": 2.0,
    "num_sampled_clients": COHORT,
    "clip_count_stddev": 0.6,
    "clip_norm_target_quantile": 0.4,
    "clip_norm_lr": 0.3,
}
BANDED = {**FIXED, "min_separation": 3, "max_participations": 4, "bands": 3}
NORM = {"bounded_by": "norm"}


@dataclass(frozen=True)
class Case:
    """A mechanism with parameters, and the numbers of the state before the round."""

    id: str
    part: Any
    parameters: Mapping[str, Any]
    numbers: Mapping[str, float]


CASES = [
    Case("dp-fixed", FixedClipping, {**FIXED, "server_side_noising": True}, {}),
    Case("dp-fixed", FixedClipping, {**FIXED, "server_side_noising": True, **NORM}, {}),
    Case("dp-adaptive", AdaptiveClipping, {**ADAPTIVE, "server_side_noising": True}, {}),
    Case(
        "dp-adaptive",
        AdaptiveClipping,
        {**ADAPTIVE, "server_side_noising": True, **NORM},
        {"clipping_norm": 0.25, "used_clipping_norm": 1.0},
    ),
    Case("dp-banded", BandedNoise, BANDED, {}),
    Case("metric-privacy", MetricNoise, FIXED, {}),
    Case("metric-privacy", MetricNoise, {**FIXED, **NORM}, {}),
]


def noise(steps: int = 5) -> KeyedNoise:
    """Noise after this many entries."""
    made = [NoiseStep(round=n, task=n, updates=f"{n:064x}") for n in range(1, steps + 1)]
    return KeyedNoise(KEY, "job-1", made, STRATEGY)


def round_of(case: Case, agents: int, drawn: KeyedNoise | None) -> PrivateRound:
    """A round of updates that differ."""
    updates = np.random.default_rng(agents).standard_normal((agents, sum(SIZES)))
    return PrivateRound(
        combined=updates.sum(axis=0) / COHORT,
        updates=updates,
        tensors=SIZES,
        bits=[1.0, 0.0, 1.0][:agents],
        numbers=case.numbers,
        cohort=COHORT,
        noise=drawn,
    )


def distance_of(updates: np.ndarray[Any, Any]) -> float:
    """The greatest mean of the distances of tensors."""
    pairs = [(a, b) for at, a in enumerate(updates) for b in updates[at + 1 :]]
    cut = SIZES[0]
    return max(
        (
            float(np.linalg.norm((a - b)[:cut]) + np.linalg.norm((a - b)[cut:])) / 2
            for a, b in pairs
        ),
        default=0.0,
    )


def by_service(case: Case, made: PrivateRound) -> Protected:
    """Compute what the collector's code makes of the round."""
    part = case.part(**case.parameters)
    facts = [
        UpdateFacts(agent=f"agent.{at}", examples=1, norm_bit=bit)
        for at, bit in enumerate(made.bits)
    ]
    numbers = part.next_private_numbers(made.numbers, facts, made.noise)
    combined = Combined(
        update=made.combined,
        agents=len(made.updates),
        population=0,
        round=1,
        numbers=numbers,
        position=0,
        norm=float(np.linalg.norm(made.combined)),
        distance=distance_of(made.updates),
    )
    return Protected(update=part.add_noise(combined, made.noise), numbers=numbers)


def by_reference(case: Case, made: PrivateRound) -> Protected:
    """Compute it a second time."""
    found = reference_protection(PluginChoice(id=case.id, parameters=case.parameters), made)
    assert found is not None
    return found


@pytest.mark.parametrize("agents", [0, 1, 3])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id + str(len(case.parameters)))
def test_both_add_the_same_noise(case: Case, agents: int) -> None:
    """With whatever number of updates, and the noise of all earlier steps where it is needed."""
    made = round_of(case, agents, noise())
    service, reference = by_service(case, made), by_reference(case, made)
    np.testing.assert_allclose(reference.update, service.update, rtol=0, atol=1e-9)
    assert dict(reference.numbers) == pytest.approx(dict(service.numbers), rel=1e-12)
    assert reference.deviation > 0
    assert not np.allclose(reference.update, made.combined)
    other = by_reference(case, round_of(case, agents, noise(4)))
    assert not np.allclose(other.update, reference.update)


@pytest.mark.parametrize(
    "case",
    [
        Case("dp-fixed", FixedClipping, {**FIXED, "server_side_noising": False}, {}),
        Case("dp-adaptive", AdaptiveClipping, {**ADAPTIVE, "server_side_noising": False}, {}),
    ],
    ids=lambda case: case.id,
)
def test_noise_of_agents_is_left_as_it_is(case: Case) -> None:
    """No limit holds for an update that has noise."""
    made = round_of(case, 3, None)
    reference = by_reference(case, made)
    assert dict(reference.numbers) == pytest.approx(dict(by_service(case, made).numbers))
    np.testing.assert_array_equal(reference.update, made.combined)
    assert (reference.limit, reference.deviation) == (None, 0.0)


@pytest.mark.parametrize("name", [name for name in REFERENCE_MECHANISMS if name.startswith("ldp-")])
def test_local_mechanisms_add_nothing_at_the_collector(name: str) -> None:
    """Their noise is in the updates."""
    made = round_of(CASES[0], 3, None)
    found = reference_protection(PluginChoice(id=name, parameters={"epsilon": 1.0}), made)
    assert found == Protected(update=made.combined)


def test_a_combined_update_is_clipped_before_its_noise() -> None:
    """If the aggregator is no mean, its sensitivity is twice the norm."""
    case = Case("dp-fixed", FixedClipping, {**CASES[1].parameters, "clipping_norm": 0.1}, {})
    made = round_of(case, 3, noise())
    drawn = 1.5 * 0.1 / COHORT * noise().normals(0, sum(SIZES))
    length = float(np.linalg.norm(by_reference(case, made).update - drawn))
    assert math.isclose(length, 0.1, rel_tol=1e-5)


def test_a_mechanism_of_another_package_is_not_computed() -> None:
    """The oracle then says that it has not."""
    made = round_of(CASES[0], 3, noise())
    assert reference_protection(PluginChoice(id="own-mechanism"), made) is None
