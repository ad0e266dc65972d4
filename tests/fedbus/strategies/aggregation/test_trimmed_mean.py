"""The coordinate-wise trimmed mean."""

import re

import numpy as np
import pytest

from fedbus.strategies.aggregation.trimmed_mean import TrimmedMean
from tests.fedbus.strategies.reference import flower_results
from tests.fedbus.strategies.sample_round import sample_round


@pytest.mark.parametrize("agents", flower_results.AGENTS)
def test_it_is_the_trimmed_mean_of_flower(agents: int) -> None:
    """With Flower's default; the largest difference was 4.4e-16."""
    found = flower_results.flower_round(agents).aggregate(TrimmedMean(beta=0.2))
    assert np.abs(found - flower_results.flower_result(agents, "trimmed-mean")).max() < 1e-15


def test_as_many_are_cut_as_the_share_says() -> None:
    """29 of 100 at 0.29, although 0.29 * 100 is 28.999999999999996 to a computer."""
    blocks = np.zeros((100, 1))
    blocks[:29] = 1e9
    assert TrimmedMean(beta=0.29).combine(blocks, np.ones(100)) == 0
    blocks[29] = 1e9
    assert TrimmedMean(beta=0.29).combine(blocks, np.ones(100)) > 0


def test_few_updates_are_averaged_whole() -> None:
    """With fewer than 1 / beta nothing is cut; beta 0 never cuts."""
    sample = sample_round(1, agents=4)
    mean = sample.weights.mean(axis=0)
    for beta in (0, 0.2):
        assert np.allclose(sample.aggregate(TrimmedMean(beta=beta)), mean, rtol=0, atol=1e-15)
    assert not np.allclose(sample.aggregate(TrimmedMean(beta=0.25)), mean, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("beta", "expected"),
    [
        (0.5, "from 0 to below 0.5, got 0.5"),
        (-0.1, "of at least 0, got -0.1"),
        (float("nan"), "of at least 0, got nan"),
        (True, "of at least 0, got True"),
    ],
)
def test_less_than_half_is_cut_at_each_end(beta: float, expected: str) -> None:
    """The sentence names the parameter, its bounds and the value."""
    with pytest.raises(ValueError, match=re.escape(f"beta: expected a number {expected}")):
        TrimmedMean(beta=beta)
