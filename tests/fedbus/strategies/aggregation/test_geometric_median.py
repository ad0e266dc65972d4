"""The geometric median, by the smoothed Weiszfeld algorithm."""

import numpy as np
import pytest
from scipy.optimize import minimize

from fedbus.plugins import Coefficients, UpdateFacts
from fedbus.strategies.aggregation.geometric_median import GeometricMedian
from tests.fedbus.strategies.sample_round import Floats, SampleRound, sample_round


def weiszfeld(sample: SampleRound, iterations: int, smoothing: float = 1e-5) -> Floats:
    """Return algorithm 2 of the paper from the updates themselves, from their mean on."""
    shares = np.array(sample.examples) / sum(sample.examples)
    point = shares @ sample.updates
    for _ in range(iterations):
        distances = np.array([np.linalg.norm(point - update) for update in sample.updates])
        weights = shares / np.maximum(smoothing, distances)
        point = weights @ sample.updates / weights.sum()
    return sample.base + point


def objective(point: Floats, sample: SampleRound) -> float:
    """Return the weighted sum of the distances to the updates."""
    shares = np.array(sample.examples) / sum(sample.examples)
    return float(shares @ np.linalg.norm(sample.updates - (point - sample.base), axis=1))


@pytest.mark.parametrize("iterations", [1, 3, 8])
@pytest.mark.parametrize("agents", [1, 2, 7, 40])
def test_it_is_the_algorithm_of_the_paper(agents: int, iterations: int) -> None:
    """Although it sees inner products only; the largest difference was 4.4e-16."""
    sample = sample_round(agents, agents=agents)
    found = sample.aggregate(GeometricMedian(iterations=iterations))
    assert np.abs(found - weiszfeld(sample, iterations)).max() < 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_no_other_point_has_a_smaller_sum_of_distances(seed: int) -> None:
    """An optimizer of scipy, which knows nothing of Weiszfeld, finds none; see the tolerance."""
    sample = sample_round(seed, agents=12, tensors=(3, 2))
    found = objective(sample.aggregate(GeometricMedian()), sample)
    best = minimize(objective, sample.weights.mean(axis=0), args=(sample,), method="BFGS")
    assert found <= best.fun * (1 + 1e-7)


def test_a_median_at_an_update_is_found() -> None:
    """Its distance becomes 0, which the smoothing keeps from dividing by zero."""
    sample = sample_round(1, agents=5)
    heavy = sample.changed(examples=[1, 1, 1000, 1, 1])
    found = heavy.aggregate(GeometricMedian())
    assert np.abs(found - heavy.weights[2]).max() < 1e-3
    same = sample.changed(updates=np.tile(sample.updates[0], (5, 1)))
    assert np.allclose(same.aggregate(GeometricMedian()), same.weights[0], rtol=0, atol=1e-12)


def test_agents_may_count_the_same_whatever_examples_they_claim() -> None:
    """One that claims 100 times the others' examples decides the weighted median alone."""
    sample = sample_round(2, agents=5).changed(examples=[10, 10, 10, 10, 1000])
    updates = sample.updates.copy()
    updates[4] = 1e6
    attacked = sample.changed(updates=updates)
    assert np.abs(attacked.aggregate(GeometricMedian())).max() > 1e5
    assert np.abs(attacked.aggregate(GeometricMedian(weighted=False))).max() < 5


def test_updates_of_zeros_have_equal_weights() -> None:
    """A round in which no agent learned anything changes nothing."""
    facts = [UpdateFacts(agent=name, examples=3) for name in "ab"]
    assert GeometricMedian().weigh(facts, np.zeros((3, 3))) == Coefficients([0.5, 0.5])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"smoothing": 0}, "smoothing: expected a number above 0, got 0"),
        ({"iterations": 0}, "iterations: expected a whole number of at least 1, got 0"),
        ({"iterations": 10**15}, "iterations: expected a whole number of at most 1,000, got 1000"),
        ({"iterations": 10**400}, "iterations: expected a whole number of at most 1,000, got 1000"),
        ({"smoothing": 1e-308}, "smoothing: expected a number of at least 1e-30, got 1e-308"),
        ({"weighted": 1}, "weighted: expected true or false, got 1"),
    ],
)
def test_parameters_have_bounds(arguments: dict[str, int], sentence: str) -> None:
    """The sentence names the parameter, its bound and the value."""
    with pytest.raises(ValueError, match=sentence):
        GeometricMedian(**arguments)  # type: ignore[arg-type]  # what a job may hold


def test_a_round_without_examples_has_no_shares() -> None:
    """Nothing could be divided by their sum."""
    facts = [UpdateFacts(agent=name, examples=0) for name in "ab"]
    with pytest.raises(ValueError, match="expected updates with examples, got 2 without any"):
        GeometricMedian().weigh(facts, np.ones((3, 3)))
