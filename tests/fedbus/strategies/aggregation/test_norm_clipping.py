"""The mean of updates of limited norm."""

import numpy as np
import pytest

from fedbus.plugins import Coefficients, UpdateFacts
from fedbus.strategies.aggregation.mean import Mean
from fedbus.strategies.aggregation.norm_clipping import NormClipping
from tests.fedbus.strategies.sample_round import Floats, SampleRound, sample_round


def clipped(sample: SampleRound, limit: float) -> Floats:
    """Return the formula of the paper, from the updates themselves."""
    total = np.zeros_like(sample.base)
    for update, examples in zip(sample.updates, sample.examples, strict=True):
        total += examples * update / max(1, np.linalg.norm(update) / limit)
    return sample.base + total / sum(sample.examples)


@pytest.mark.parametrize("limit", [0.01, 1.1, 100])
def test_it_is_the_formula_of_the_paper(limit: float) -> None:
    """Where all, some and none of the updates are too long; the largest difference was 1.1e-16."""
    sample = sample_round(1, agents=30)
    found = sample.aggregate(NormClipping(max_norm=limit))
    assert np.abs(found - clipped(sample, limit)).max() < 1e-14


def test_without_a_limit_it_is_the_median_of_the_norms() -> None:
    """So half of the updates stay as they are."""
    sample = sample_round(2, agents=9)
    limit = float(np.median(np.linalg.norm(sample.updates, axis=1)))
    found = sample.aggregate(NormClipping())
    assert np.abs(found - clipped(sample, limit)).max() < 1e-14


def test_a_large_limit_leaves_the_mean() -> None:
    """Weighted by examples, or not."""
    sample = sample_round(3)
    for weighted in (True, False):
        found = sample.aggregate(NormClipping(max_norm=1e9, weighted=weighted))
        expected = sample.aggregate(Mean(weighted=weighted))
        assert np.allclose(found, expected, rtol=0, atol=1e-14)


def test_an_update_of_zeros_is_not_scaled() -> None:
    """Its norm divides nothing; where most are zeros, the limit is 0 and the others are gone."""
    facts = [UpdateFacts(agent=name, examples=1) for name in "abc"]
    gram = np.diag([1.0, 0, 0, 4])
    assert NormClipping().weigh(facts, gram) == Coefficients([1 / 3, 1 / 3, 0])
    assert NormClipping(max_norm=1).weigh(facts, gram) == Coefficients([1 / 3, 1 / 3, 1 / 6])


def test_an_attacker_moves_the_model_by_its_share_of_the_limit() -> None:
    """Whatever the length of its update."""
    sample = sample_round(4).changed(examples=[1] * 10)
    updates = sample.updates.copy()
    updates[0] = 1e9
    attacked = sample.changed(updates=updates)
    honest = sample.aggregate(NormClipping(max_norm=1))
    moved = np.linalg.norm(attacked.aggregate(NormClipping(max_norm=1)) - honest)
    assert moved <= 2 / 10


@pytest.mark.parametrize("value", [0, -1, float("inf"), "1"])
def test_the_limit_is_above_zero(value: float) -> None:
    """The sentence names the parameter, its bound and the value."""
    sentence = f"max_norm: expected a number above 0, got {value!r}"
    with pytest.raises(ValueError, match=sentence):
        NormClipping(max_norm=value)
