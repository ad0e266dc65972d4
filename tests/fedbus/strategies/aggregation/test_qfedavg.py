"""q-FedAvg."""

import numpy as np
import pytest

from fedbus.plugins import UpdateFacts
from fedbus.strategies.aggregation.mean import Mean
from fedbus.strategies.aggregation.qfedavg import QFedAvg
from tests.fedbus.strategies.reference import flower_results
from tests.fedbus.strategies.sample_round import Floats, SampleRound, sample_round


def algorithm_2(sample: SampleRound, q: float, rate: float) -> Floats:
    """Return the paper's new weights from the agents' weights."""
    total, normalizer = np.zeros_like(sample.base), 0.0
    for weights, loss in zip(sample.weights, sample.losses, strict=True):
        f, lipschitz = loss + 1e-10, 1 / rate
        step = lipschitz * (sample.base - weights)
        total += f**q * step
        normalizer += q * f ** (q - 1) * float(step @ step) + lipschitz * f**q
    return sample.base - total / normalizer


@pytest.mark.parametrize("agents", flower_results.AGENTS)
def test_it_is_that_of_flower_where_all_agents_have_one_loss(agents: int) -> None:
    """Flower takes the server's loss for all; the largest difference was 2.2e-16."""
    found = flower_results.flower_round(agents).aggregate(QFedAvg())
    assert np.abs(found - flower_results.flower_result(agents, "qfedavg")).max() < 1e-14


@pytest.mark.parametrize("q", [0, 0.2, 1, 5])
@pytest.mark.parametrize("rate", [0.01, 1])
def test_it_is_the_algorithm_of_the_paper(q: float, rate: float) -> None:
    """With a loss for each agent; the largest difference was 4.4e-16."""
    sample = sample_round(1, agents=20)
    found = sample.aggregate(QFedAvg(q_param=q, qffl_learning_rate=rate))
    assert np.abs(found - algorithm_2(sample, q, rate)).max() < 1e-13


def test_with_q_0_it_is_the_unweighted_mean() -> None:
    """Losses and examples count nothing then."""
    sample = sample_round(2)
    expected = sample.aggregate(Mean(weighted=False))
    assert np.allclose(sample.aggregate(QFedAvg(q_param=0)), expected, rtol=0, atol=1e-14)


def test_agents_with_a_high_loss_count_more() -> None:
    """In proportion to loss^q."""
    sample = sample_round(3, agents=2).changed(losses=[0.5, 2.0])
    low, high = QFedAvg(q_param=2).weigh(sample.facts, sample.gram("model")).updates
    assert high / low == pytest.approx(16)


@pytest.mark.parametrize("losses", [[0.0, 0.0], [1e300, 1.0], [0.0, 1e300]])
@pytest.mark.parametrize("q", [0.1, 1, 9])
def test_losses_of_any_size_give_numbers(losses: list[float], q: float) -> None:
    """Neither a power of 0 nor one of 1e300 becomes infinite."""
    sample = sample_round(4, agents=2).changed(losses=losses)
    found = QFedAvg(q_param=q).weigh(sample.facts, sample.gram("model")).updates
    assert np.isfinite(found).all()
    assert max(found) > 0


@pytest.mark.parametrize("loss", [None, -0.5, float("nan")])
def test_an_update_without_a_loss_is_refused(loss: float | None) -> None:
    """The attribute `facts` asks for it; the sentence names the agent."""
    assert QFedAvg.facts == ("base_loss",)
    facts = [UpdateFacts(agent="pi-7", examples=1, base_loss=loss)]
    with pytest.raises(ValueError, match=rf"pi-7: expected the base's loss .* got {loss}"):
        QFedAvg().weigh(facts, np.ones((2, 2)))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"q_param": -1}, "q_param: expected a number of at least 0, got -1"),
        ({"q_param": 1e308}, r"q_param: expected a number of at most 1,000, got 1e\+308"),
        ({"qffl_learning_rate": 1e-308}, "expected a number of at least 1e-30, got 1e-308"),
        ({"qffl_learning_rate": 0}, "qffl_learning_rate: expected a number above 0, got 0"),
    ],
)
def test_parameters_have_bounds(arguments: dict[str, float], sentence: str) -> None:
    """The sentence names the parameter, its bound and the value."""
    with pytest.raises(ValueError, match=sentence):
        QFedAvg(**arguments)
