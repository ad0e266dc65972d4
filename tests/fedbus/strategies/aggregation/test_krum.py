"""Krum and multi-Krum."""

import numpy as np
import pytest

from fedbus.plugins import Coefficients, UpdateFacts
from fedbus.strategies.aggregation.krum import Krum, MultiKrum
from tests.fedbus.strategies.reference import flower_results
from tests.fedbus.strategies.sample_round import Floats, SampleRound, sample_round


def krum_by_hand(updates: Floats, malicious: int) -> list[int]:
    """Return the updates from the best score to the worst, computed without a Gram matrix."""
    scores = []
    for i, one in enumerate(updates):
        squares = sorted(float(((one - u) ** 2).sum()) for j, u in enumerate(updates) if j != i)
        scores.append(sum(squares[: len(updates) - malicious - 2]))
    return [int(i) for i in np.argsort(scores, kind="stable")]


def kept_by(rule: Krum, sample: SampleRound) -> list[int]:
    """Return the updates whose coefficient is not 0."""
    found = rule.weigh(sample.facts, sample.gram("model"))
    return [i for i, coefficient in enumerate(found.updates) if coefficient]


@pytest.mark.parametrize("agents", flower_results.AGENTS)
def test_krum_is_krum_of_flower(agents: int) -> None:
    """With the most malicious agents that the rule allows; there was no difference."""
    rule = Krum(num_malicious_clients=(agents - 3) // 2)
    found = flower_results.flower_round(agents).aggregate(rule)
    assert np.abs(found - flower_results.flower_result(agents, "krum")).max() < 1e-15


@pytest.mark.parametrize("agents", flower_results.AGENTS)
def test_multi_krum_is_that_of_flower_where_all_agents_have_as_many_examples(agents: int) -> None:
    """Flower weights the kept updates by examples; the largest difference was 4.4e-16."""
    keep = max(1, agents // 2)
    rule = MultiKrum(num_malicious_clients=(agents - 3) // 2, num_clients_to_keep=keep)
    sample = flower_results.flower_round(agents)
    found = sample.aggregate(rule)
    assert np.abs(found - flower_results.flower_result(agents, "multi-krum")).max() < 1e-15
    kept = kept_by(rule, sample)
    examples = np.array(sample.examples, np.float64)[kept]
    weighted = examples @ sample.weights[kept] / examples.sum()
    flower = flower_results.flower_result(agents, "multi-krum-weighted")
    assert np.abs(weighted - flower).max() < 1e-14


@pytest.mark.parametrize("seed", range(20))
def test_the_kept_updates_are_those_of_the_formula(seed: int) -> None:
    """Computed from the updates themselves, for every f that the number of agents allows."""
    agents = 3 + seed
    sample = sample_round(seed, agents=agents)
    for malicious in range((agents - 3) // 2 + 1):
        order = krum_by_hand(sample.updates, malicious)
        assert kept_by(Krum(num_malicious_clients=malicious), sample) == order[:1]
        several = kept_by(MultiKrum(num_malicious_clients=malicious), sample)
        assert several == sorted(order[: agents - malicious - 2])


def test_krum_keeps_as_many_as_a_job_says() -> None:
    """Flower's Krum with `num_clients_to_keep` is multi-Krum, so ours is too."""
    sample = sample_round(4, agents=9)
    assert len(kept_by(Krum(num_clients_to_keep=4), sample)) == 4
    one, other = Krum(num_clients_to_keep=4), MultiKrum(num_clients_to_keep=4)
    assert np.array_equal(sample.aggregate(one), sample.aggregate(other))


def test_equal_updates_are_chosen_by_the_names_of_their_agents() -> None:
    """All scores are 0, so the first names win, in whatever order the updates come."""
    gram = np.ones((6, 6))
    facts = [UpdateFacts(agent=name, examples=1) for name in ("e", "c", "a", "d", "b")]
    assert Krum().weigh(facts, gram) == Coefficients([0, 0, 1, 0, 0])
    two = MultiKrum(num_clients_to_keep=2).weigh(facts, gram)
    assert two == Coefficients([0, 0, 0.5, 0, 0.5])


def test_attackers_far_away_are_not_kept() -> None:
    """Two of seven, who agree with each other."""
    sample = sample_round(5, agents=7)
    updates = sample.updates.copy()
    updates[[1, 4]] = 100.0
    kept = kept_by(MultiKrum(num_malicious_clients=2), sample.changed(updates=updates))
    assert len(kept) == 3
    assert not {1, 4} & set(kept)


@pytest.mark.parametrize(
    ("arguments", "least"),
    [({}, 3), ({"num_malicious_clients": 2}, 7), ({"num_clients_to_keep": 9}, 9)],
)
def test_a_round_needs_more_than_twice_the_malicious_agents(
    arguments: dict[str, int], least: int
) -> None:
    """2f + 3 updates, and as many as are to be kept; fewer are refused with the number."""
    rule = Krum(**arguments)
    assert rule.least_updates == least
    sample = sample_round(6, agents=least - 1)
    with pytest.raises(ValueError, match=f"at least {least} updates .* got {least - 1} updates"):
        rule.weigh(sample.facts, sample.gram("model"))


@pytest.mark.parametrize("value", [-1, 1.5, True, "2"])
@pytest.mark.parametrize("name", ["num_malicious_clients", "num_clients_to_keep"])
def test_parameters_are_whole_numbers(name: str, value: object) -> None:
    """The sentence names the parameter, its bound and the value."""
    sentence = f"{name}: expected a whole number of at least 0, got {value!r}"
    with pytest.raises(ValueError, match=sentence):
        Krum(**{name: value})  # type: ignore[arg-type]  # what a job may hold
