"""FedAvgOpt of AI4OS."""

import numpy as np
import pytest
from scipy.optimize import minimize

from fedbus.strategies.aggregation.fedavgopt import FedAvgOpt
from fedbus.strategies.aggregation.mean import Mean
from tests.fedbus.strategies.sample_round import Floats, SampleRound, sample_round


def combined(alpha: Floats, sample: SampleRound) -> Floats:
    """Return sum n_i alpha_i w_i / sum n_i."""
    n = np.array(sample.examples)
    result: Floats = (n * alpha) @ sample.weights / n.sum()
    return result


def spread(alpha: Floats, sample: SampleRound) -> float:
    """Return the function that AI4OS minimizes, from whole arrays, tensor by tensor."""
    total = 0.0
    new = sample.split(combined(alpha, sample))
    for weights in sample.weights:
        ratios = [
            np.linalg.norm(a - b) / np.linalg.norm(a + b)
            for a, b in zip(new, sample.split(weights), strict=True)
        ]
        total += float(np.linalg.norm(ratios))
    return total


@pytest.mark.parametrize("agents", [1, 2, 5, 8])
def test_it_is_the_algorithm_of_ai4os(agents: int) -> None:
    """By the same search on whole arrays; the largest difference was 4.4e-16."""
    sample = sample_round(agents, agents=agents)
    found = minimize(spread, np.ones(agents), args=(sample,), method="Nelder-Mead")
    assert np.abs(sample.aggregate(FedAvgOpt()) - combined(found.x, sample)).max() < 1e-9


def test_the_base_has_the_coefficients_of_the_agents_models() -> None:
    """Whatever their sum: the coefficients are of weights, not of differences."""
    sample = sample_round(3, agents=6)
    found = FedAvgOpt().weigh(sample.facts, sample.gram("tensors"))
    assert found.base == pytest.approx(sum(found.updates))
    assert np.allclose(
        sample.aggregate(FedAvgOpt()), np.array(found.updates) @ sample.weights, rtol=0, atol=1e-13
    )


def test_it_comes_closer_to_all_models_than_the_mean() -> None:
    """By the measure that it minimizes; one agent has nearly all examples here."""
    sample = sample_round(4, agents=5).changed(examples=[900, 10, 10, 10, 10])
    start = spread(np.ones(5), sample)
    weights = np.array(FedAvgOpt().weigh(sample.facts, sample.gram("tensors")).updates)
    alpha = weights * sum(sample.examples) / np.array(sample.examples)
    assert spread(alpha, sample) < 0.9 * start


def test_one_update_and_equal_updates_are_taken_as_they_are() -> None:
    """Their spread is 0 at the start already."""
    one = sample_round(5, agents=1)
    assert np.allclose(one.aggregate(FedAvgOpt()), one.weights[0], rtol=0, atol=1e-12)
    equal = one.changed(
        updates=np.tile(one.updates, (3, 1)),
        examples=[1, 2, 3],
        steps=[1] * 3,
        losses=[1.0] * 3,
    )
    assert np.allclose(equal.aggregate(FedAvgOpt()), one.weights[0], rtol=0, atol=1e-7)


def test_a_tensor_of_zeros_counts_nothing() -> None:
    """Such as a bias that starts at 0 and did not learn; 0 / 0 is 0 here."""
    sample = sample_round(6, agents=3)
    base, updates = sample.base.copy(), sample.updates.copy()
    base[40:47], updates[:, 40:47] = 0, 0
    found = sample.changed(base=base, updates=updates).aggregate(FedAvgOpt())
    assert np.isfinite(found).all()
    assert not found[40:47].any()


def test_updates_of_zeros_leave_the_base() -> None:
    """In a round in which no agent learned anything."""
    sample = sample_round(7, agents=4)
    still = sample.changed(updates=np.zeros_like(sample.updates))
    assert np.allclose(still.aggregate(FedAvgOpt()), still.aggregate(Mean()), rtol=0, atol=1e-7)
