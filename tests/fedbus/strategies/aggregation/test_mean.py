"""The mean of the updates."""

import numpy as np
import pytest

from fedbus.plugins import UpdateFacts
from fedbus.strategies.aggregation.mean import Mean
from tests.fedbus.strategies.reference import flower_results
from tests.fedbus.strategies.sample_round import sample_round


@pytest.mark.parametrize("agents", flower_results.AGENTS)
def test_it_is_the_mean_of_flower(agents: int) -> None:
    """Weighted by examples; the largest difference was 4.4e-16."""
    found = flower_results.flower_round(agents).aggregate(Mean())
    assert np.abs(found - flower_results.flower_result(agents, "mean")).max() < 1e-14


def test_unweighted_each_agent_counts_the_same() -> None:
    """Whatever number of examples it claims."""
    sample = sample_round(1)
    expected = sample.weights.mean(axis=0)
    assert np.allclose(sample.aggregate(Mean(weighted=False)), expected, rtol=0, atol=1e-14)
    assert Mean(weighted=False).weight(UpdateFacts(agent="a", examples=900)) == 1


def test_the_flag_is_true_or_false() -> None:
    """The sentence names the parameter and the value."""
    with pytest.raises(ValueError, match="weighted: expected true or false, got 'yes'"):
        Mean(weighted="yes")  # type: ignore[arg-type]  # what a job may hold


def test_a_fixed_divisor_needs_equal_weights() -> None:
    """The collector divides the sum of the updates by it, however many came."""
    assert Mean().divisor is None
    fixed = Mean(weighted=False, divisor=20)
    assert (fixed.divisor, fixed.weighs_equally) == (20, False)
    with pytest.raises(ValueError, match="divisor: it divides a sum of equal weights: give weig"):
        Mean(divisor=20)
    with pytest.raises(ValueError, match="divisor: expected a whole number of at least 1, got 0"):
        Mean(weighted=False, divisor=0)
