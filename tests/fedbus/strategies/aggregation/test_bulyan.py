"""Bulyan."""

import numpy as np
import pytest

from fedbus.plugins import Coefficients, UpdateFacts
from fedbus.strategies.aggregation.bulyan import Bulyan
from tests.fedbus.strategies.reference import flower_results
from tests.fedbus.strategies.sample_round import Floats, sample_round


def bulyan_by_hand(updates: Floats, malicious: int) -> Floats:
    """Return Bulyan's update by whole arrays and plain loops."""
    left, selected = list(updates), []
    for _ in range(len(updates) - 2 * malicious):
        scores = []
        for i, one in enumerate(left):
            squares = sorted(float(((one - u) ** 2).sum()) for j, u in enumerate(left) if j != i)
            scores.append(sum(squares[: max(1, len(left) - malicious - 2)]))
        selected.append(left.pop(int(np.argmin(scores))))
    columns = []
    for column in np.array(selected).T:
        middle = float(np.median(column))
        near = sorted(column, key=lambda value: abs(value - middle))
        columns.append(np.mean(near[: len(selected) - 2 * malicious]))
    return np.array(columns)


@pytest.mark.parametrize("agents", flower_results.AGENTS)
def test_it_is_bulyan_of_flower(agents: int) -> None:
    """With the most malicious agents that it allows; the largest difference was 4.4e-16."""
    rule = Bulyan(num_malicious_clients=(agents - 3) // 4)
    found = flower_results.flower_round(agents).aggregate(rule)
    assert np.abs(found - flower_results.flower_result(agents, "bulyan")).max() < 1e-15


@pytest.mark.parametrize("seed", range(12))
def test_it_is_the_algorithm_of_the_paper(seed: int) -> None:
    """Computed without a Gram matrix, for every f that the number of agents allows."""
    agents = 3 + 2 * seed
    sample = sample_round(seed, agents=agents)
    for malicious in range((agents - 3) // 4 + 1):
        found = sample.aggregate(Bulyan(num_malicious_clients=malicious))
        expected = sample.base + bulyan_by_hand(sample.updates, malicious)
        assert np.allclose(found, expected, rtol=0, atol=1e-14)


def test_without_malicious_agents_it_is_the_mean() -> None:
    """All updates are selected, and all of their values."""
    sample = sample_round(2, agents=6)
    expected = sample.weights.mean(axis=0)
    assert np.allclose(sample.aggregate(Bulyan()), expected, rtol=0, atol=1e-15)


def test_equal_updates_are_selected_by_the_names_of_their_agents() -> None:
    """Five of seven, in whatever order they come; the result is the update."""
    facts = [UpdateFacts(agent=name, examples=1) for name in "gfedcba"]
    rule = Bulyan(num_malicious_clients=1)
    share = 1 / 5
    assert rule.weigh(facts, np.ones((8, 8))) == Coefficients([0, 0, *[share] * 5])
    assert rule.combine(np.full((5, 3), 0.1), np.full(5, share)) == pytest.approx([0.1] * 3)


def test_of_two_values_at_one_distance_the_smaller_counts() -> None:
    """The result does not depend on the order of the updates."""
    column = np.array([0.0, 2.0, 4.0, 4.0, 100.0, 0.0, 4.0])[:, None]
    rule = Bulyan(num_malicious_clients=2)  # the median is 4: three values at distance 0
    assert rule.combine(column, np.ones(7)) == 4
    tied = np.array([3.0, 1.0, 2.0, 0.0, 4.0])[:, None]
    assert Bulyan(num_malicious_clients=1).combine(tied, np.ones(5)) == 2
    even = np.array([3.0, 1.0, 2.0, 0.0])[:, None]  # the median is 1.5
    assert Bulyan(num_malicious_clients=1).combine(even, np.ones(4)) == 1.5


def test_a_round_needs_four_times_the_malicious_agents_and_three() -> None:
    """Fewer updates are refused with the number."""
    rule = Bulyan(num_malicious_clients=2)
    assert rule.least_updates == 11
    sample = sample_round(3, agents=10)
    with pytest.raises(ValueError, match=r"at least 11 updates .* got 10 updates"):
        rule.weigh(sample.facts, sample.gram("model"))
