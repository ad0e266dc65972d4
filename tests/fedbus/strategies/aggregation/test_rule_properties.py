"""Properties that aggregation rules have in common."""

from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbus import plugins
from fedbus.plugins import Aggregator
from fedbus.strategies.aggregation.bulyan import Bulyan
from fedbus.strategies.aggregation.fedavgopt import FedAvgOpt
from fedbus.strategies.aggregation.fednova import FedNova
from fedbus.strategies.aggregation.geometric_median import GeometricMedian
from fedbus.strategies.aggregation.krum import Krum, MultiKrum
from fedbus.strategies.aggregation.mean import Mean
from fedbus.strategies.aggregation.median import Median
from fedbus.strategies.aggregation.norm_clipping import NormClipping
from fedbus.strategies.aggregation.qfedavg import QFedAvg
from fedbus.strategies.aggregation.trimmed_mean import TrimmedMean
from tests.fedbus.strategies.sample_round import Floats, SampleRound, sample_round

AGENTS = 11
MALICIOUS = 2
"""Of `AGENTS`, nearly 20 %; the most that Bulyan allows."""

ROBUST: dict[str, Aggregator] = {
    "bulyan": Bulyan(num_malicious_clients=MALICIOUS),
    "geometric-median": GeometricMedian(weighted=False),
    "krum": Krum(num_malicious_clients=MALICIOUS),
    "median": Median(),
    "multi-krum": MultiKrum(num_malicious_clients=MALICIOUS),
    "norm-clipping": NormClipping(weighted=False),
    "trimmed-mean": TrimmedMean(beta=0.2),
}
RULES: dict[str, Aggregator] = {
    **ROBUST,
    "fedavgopt": FedAvgOpt(),
    "fednova": FedNova(),
    "mean": Mean(),
    "qfedavg": QFedAvg(),
}
SEARCHES = {"fedavgopt"}
"""Rules that search: slowly, and rounding shows in where they end."""

seeds = st.integers(0, 2**32)
rules = pytest.mark.parametrize("name", sorted(RULES))


def attacked(seed: int, attack: str) -> tuple[SampleRound, Floats]:
    """Return a round in which `MALICIOUS` agents attack, and the weights of the honest ones."""
    sample = sample_round(seed, agents=AGENTS)
    bad = Random(seed).sample(range(AGENTS), MALICIOUS)
    updates, honest = sample.updates.copy(), np.delete(sample.updates, bad, axis=0)
    updates[bad] = ATTACKS[attack](honest)
    return sample.changed(updates=updates), sample.base + honest


ATTACKS: dict[str, Callable[[Floats], Floats]] = {
    "far away": lambda honest: np.full(honest.shape[1], 1e6),
    "sign flipped": lambda honest: -100 * honest.mean(axis=0),
    "scaled": lambda honest: 1e4 * honest[0],
    "a little": lambda honest: honest.mean(axis=0) + 3 * honest.std(axis=0),
    "zeros": lambda honest: np.zeros(honest.shape[1]),
}


def test_every_rule_that_is_installed_has_these_properties() -> None:
    """A new one is added to the table above."""
    assert set(plugins.installed_names("aggregators")) == RULES.keys()


@rules
@settings(max_examples=20, deadline=None)
@given(seed=seeds, data=st.data())
def test_the_order_of_the_updates_does_not_matter(
    name: str, seed: int, data: st.DataObject
) -> None:
    """They arrive as the network wishes; ties are decided by names."""
    sample = sample_round(seed, agents=4 if name in SEARCHES else AGENTS)
    order = data.draw(st.permutations(range(sample.agents)))
    found = sample.permuted(order).aggregate(RULES[name])
    tolerance = 1e-3 if name in SEARCHES else 1e-12
    assert np.allclose(found, sample.aggregate(RULES[name]), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", sorted(RULES.keys() - SEARCHES - {"qfedavg"}))
@settings(max_examples=20, deadline=None)
@given(seed=seeds, factor=st.floats(0.01, 100))
def test_updates_of_twice_the_length_change_the_model_twice_as_much(
    name: str, seed: int, factor: float
) -> None:
    """The agents' learning rate does not decide what a rule keeps; q-FedAvg differs by design."""
    sample = sample_round(seed, agents=AGENTS)
    longer = sample.changed(updates=factor * sample.updates)
    change = sample.aggregate(RULES[name]) - sample.base
    found = longer.aggregate(RULES[name]) - sample.base
    assert np.allclose(found, factor * change, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", sorted(RULES.keys() - {"fednova", "qfedavg"}))
def test_equal_updates_are_the_result(name: str) -> None:
    """All distances are 0 then; FedNova and q-FedAvg scale by steps and losses all the same."""
    sample = sample_round(1, agents=AGENTS)
    same = sample.changed(updates=np.tile(sample.updates[0], (AGENTS, 1)))
    tolerance = 1e-6 if name in SEARCHES else 1e-12
    assert np.allclose(same.aggregate(RULES[name]), same.weights[0], rtol=0, atol=tolerance)


@rules
def test_updates_of_zeros_change_nothing(name: str) -> None:
    """No rule divides by their norms or distances."""
    sample = sample_round(2, agents=AGENTS)
    still = sample.changed(updates=np.zeros_like(sample.updates))
    tolerance = 1e-6 if name in SEARCHES else 1e-12
    assert np.allclose(still.aggregate(RULES[name]), sample.base, rtol=0, atol=tolerance)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("name", sorted(ROBUST))
@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_a_fifth_of_the_agents_cannot_move_a_robust_rule_far(
    name: str, attack: str, seed: int
) -> None:
    """From the honest mean: at most twice as far as the farthest honest update is.

    Krum goes that far: it may choose an attacker whose update lies among the honest ones.
    """
    sample, honest = attacked(seed, attack)
    center = honest.mean(axis=0)
    radius = np.linalg.norm(honest - center, axis=1).max()
    assert np.linalg.norm(sample.aggregate(ROBUST[name]) - center) <= 2 * radius


@pytest.mark.parametrize("attack", ["far away", "sign flipped", "scaled"])
def test_the_same_agents_move_a_mean_as_far_as_they_like(attack: str) -> None:
    """Two of eleven, and the distance grows with what they send."""
    sample, honest = attacked(3, attack)
    radius = np.linalg.norm(honest - honest.mean(axis=0), axis=1).max()
    moved = sample.aggregate(Mean(weighted=False)) - honest.mean(axis=0)
    assert np.linalg.norm(moved) > 10 * radius


@pytest.mark.parametrize("name", ["median", "trimmed-mean"])
@settings(max_examples=25, deadline=None)
@given(seed=seeds, attack=st.sampled_from(sorted(ATTACKS)))
def test_each_number_stays_between_the_honest_ones(name: str, seed: int, attack: str) -> None:
    """These rules are bounded in every coordinate, not only in length."""
    sample, honest = attacked(seed, attack)
    found = sample.aggregate(ROBUST[name])
    assert (found >= honest.min(axis=0) - 1e-9).all()
    assert (found <= honest.max(axis=0) + 1e-9).all()
