"""The coordinate-wise median."""

import numpy as np
import pytest

from fedbus.strategies.aggregation.mean import Mean
from fedbus.strategies.aggregation.median import Median
from tests.fedbus.strategies.reference import flower_results
from tests.fedbus.strategies.sample_round import sample_round


@pytest.mark.parametrize("agents", flower_results.AGENTS)
def test_it_is_the_median_of_flower(agents: int) -> None:
    """Of odd and even numbers of updates; the largest difference was 1.4e-17."""
    found = flower_results.flower_round(agents).aggregate(Median())
    assert np.abs(found - flower_results.flower_result(agents, "median")).max() < 1e-15


def test_the_median_of_one_update_is_the_update() -> None:
    """And that of two is their mean."""
    one, two = sample_round(1, agents=1), sample_round(1, agents=2)
    assert np.allclose(one.aggregate(Median()), one.weights[0], rtol=0, atol=1e-15)
    assert np.allclose(two.aggregate(Median()), two.weights.mean(axis=0), rtol=0, atol=1e-15)


def test_a_minority_cannot_move_it_out_of_the_honest_range() -> None:
    """In no coordinate, whatever it sends; one update moves a mean without limit."""
    honest = sample_round(2, agents=11)
    updates = honest.updates.copy()
    updates[:5] = 1e12
    attacked = honest.changed(updates=updates)
    low, high = honest.weights[5:].min(axis=0), honest.weights[5:].max(axis=0)
    found = attacked.aggregate(Median())
    assert ((found >= low - 1e-12) & (found <= high + 1e-12)).all()
    assert not (attacked.aggregate(Mean()) <= high).any()
