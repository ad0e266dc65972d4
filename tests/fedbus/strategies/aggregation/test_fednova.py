"""FedNova."""

import numpy as np
import pytest

from fedbus.jobs import JobFile
from fedbus.plugins import UpdateFacts
from fedbus.strategies.aggregation.fednova import FedNova
from fedbus.strategies.aggregation.mean import Mean
from fedbus.strategies.combinations import strategy_faults
from fedbus.strategies.resolution import resolve_job
from tests.fedbus.strategies.sample_round import Floats, SampleRound, sample_round


def with_momentum(steps: int, rho: float) -> float:
    """Return the paper's sum of the factors of SGD with momentum."""
    return (steps - rho * (1 - rho**steps) / (1 - rho)) / (1 - rho)


def with_proximal_term(steps: int, alpha: float) -> float:
    """Return the paper's sum of the factors of SGD with a proximal term; alpha is rate * mu."""
    return (1 - (1 - alpha) ** steps) / alpha


def normalized_mean(sample: SampleRound, factors: Floats) -> Floats:
    """Return the paper's new weights from the updates themselves."""
    p = np.array(sample.examples) / sum(sample.examples)
    directions = sample.updates / factors[:, None]  # -eta * d_i
    return sample.base + (p @ factors) * (p @ directions)


@pytest.mark.parametrize(
    ("rule", "factor"),
    [
        (FedNova(), float),
        (FedNova(momentum=0.9), lambda steps: with_momentum(steps, 0.9)),
        (
            FedNova(proximal_mu=2.0, learning_rate=0.05),
            lambda steps: with_proximal_term(steps, 0.1),
        ),
    ],
)
def test_it_is_the_formula_of_the_paper(rule: FedNova, factor: type[float]) -> None:
    """For the three local optimizers that the paper names; the largest difference was 2.2e-16."""
    sample = sample_round(1, agents=20)
    factors = np.array([factor(steps) for steps in sample.steps])
    found = sample.aggregate(rule)
    assert np.abs(found - normalized_mean(sample, factors)).max() < 1e-13


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("mu", [0.0, 0.3, 5.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 17, 200])
def test_a_factor_is_how_far_sgd_goes_with_gradients_of_one(
    momentum: float, mu: float, steps: int
) -> None:
    """Of momentum and proximal term together as well: the steps are made one by one here."""
    rate, weight, velocity = 0.1, 0.0, 0.0
    for _ in range(steps):
        gradient = 1 + mu * (weight - 0.0)
        velocity = momentum * velocity + gradient
        weight -= rate * velocity
    rule = FedNova(momentum=momentum, proximal_mu=mu, learning_rate=rate)
    assert rule.steps_factor(steps) == pytest.approx(-weight / rate, rel=1e-12)


def test_a_billion_steps_take_no_loop() -> None:
    """As many as an agent may report."""
    assert FedNova().steps_factor(10**9) == 10**9
    assert FedNova(momentum=0.9).steps_factor(10**9) == pytest.approx(10**10, rel=1e-6)
    assert FedNova(proximal_mu=1, learning_rate=0.1).steps_factor(10**9) == pytest.approx(10)


def test_with_equal_steps_it_is_federated_averaging() -> None:
    """There is nothing to normalize."""
    sample = sample_round(2).changed(steps=[7] * 10)
    expected = sample.aggregate(Mean())
    assert np.allclose(sample.aggregate(FedNova()), expected, rtol=0, atol=1e-14)


def test_it_minimizes_the_function_asked_for_where_a_mean_does_not() -> None:
    """Two agents, (w - 0)^2 / 2 and (w - 1)^2 / 2, one with 40 steps, one with 1: w becomes 0.5."""
    targets, steps, rate = np.array([0.0, 1.0]), [40, 1], 0.01
    found = {}
    for name, rule in (("mean", Mean()), ("fednova", FedNova())):
        w = np.array([0.3])
        for _ in range(3000):
            updates = np.array(
                [
                    (1 - rate) ** n * (w - target) + target - w
                    for n, target in zip(steps, targets, strict=True)
                ]
            )
            sample = SampleRound(w, updates, (1,), [5, 5], steps, [1.0, 1.0])
            w = sample.aggregate(rule)
        found[name] = float(w[0])
    assert found["mean"] < 0.05
    assert found["fednova"] == pytest.approx(0.5, abs=0.06)  # the rest is the 40 steps' own error


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"momentum": 1}, "momentum: expected a number from 0 to below 1, got 1"),
        ({"proximal_mu": -1}, "proximal_mu: expected a number of at least 0, got -1"),
        ({"proximal_mu": 1}, "learning_rate: expected with proximal_mu, got none"),
        (
            {"proximal_mu": 1, "learning_rate": 0},
            "learning_rate: expected a number above 0, got 0",
        ),
        (
            {"proximal_mu": 10, "learning_rate": 0.1},
            r"proximal_mu \* learning_rate: expected less than 1, got 1",
        ),
    ],
)
def test_parameters_have_bounds(arguments: dict[str, float], sentence: str) -> None:
    """The sentence names the parameter, its bound and the value."""
    with pytest.raises(ValueError, match=sentence):
        FedNova(**arguments)


def test_an_update_without_its_number_of_steps_is_refused() -> None:
    """The attribute `facts` asks for it; the sentence names the agent."""
    assert FedNova.facts == ("steps",)
    facts = [UpdateFacts(agent="pi-7", examples=1)]
    with pytest.raises(ValueError, match="pi-7: expected its number of local steps, got None"):
        FedNova().weigh(facts, None)


def test_a_job_need_not_repeat_how_its_agents_train() -> None:
    """Momentum, learning rate and FedProx's term are the job's own."""
    job = {
        "model_name": "m",
        "num_rounds": 1,
        "optimizer_config": {"optimizer": "sgd", "momentum": 0.9, "lr": 0.05},
        "strategy": {"id": "fednova", "objective": "proximal", "parameters": {"proximal_mu": 2}},
    }
    strategy = resolve_job(JobFile.model_validate(job))
    expected = {"momentum": 0.9, "proximal_mu": 2.0, "learning_rate": 0.05}
    assert strategy.aggregator.parameters == expected
    assert strategy.objective is not None
    assert strategy.objective.parameters == {"proximal_mu": 2.0}
    assert strategy.facts == ("steps",)


def test_a_job_whose_agents_use_another_optimizer_is_refused() -> None:
    """Adam's steps have no factors that depend on their number alone."""
    job = {"model_name": "m", "num_rounds": 1, "optimizer_config": {"optimizer": "adam"}}
    named = JobFile.model_validate({**job, "strategy": "fednova"})
    found = [str(fault) for fault in strategy_faults(named)]
    assert found[0].startswith("optimizer_config.optimizer: 'adam', but fednova holds for SGD")
