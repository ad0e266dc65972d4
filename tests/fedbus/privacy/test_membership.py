"""Statistics of attacks on models: areas, bounds, and what an attack shows about ε."""

from math import exp

import numpy as np
import pytest
from scipy.stats import norm

from benchmarks.privacy.membership import (
    attack_result,
    auc,
    auc_bound,
    excess,
    likelihood_ratios,
    log_odds,
    measured_epsilon,
    true_positives,
)

DELTA = 1e-5


def test_equal_scores_count_half() -> None:
    """An attack that gives all cases one score is a guess."""
    ones = np.ones(5)
    assert auc(ones, ones) == 0.5
    assert auc(np.array([2.0, 3.0]), np.array([0.0, 1.0, 2.0])) == pytest.approx(5.5 / 6)


def test_true_positives_are_those_above_all_but_the_allowed_share() -> None:
    """With 100 other cases one of them may be taken for a member at a rate of 1 %."""
    others = np.arange(100.0)
    members = np.array([98.0, 98.5, 99.0, 99.5])
    assert true_positives(members, others, 0.01) == 0.75
    assert true_positives(members, others, 0.0) == 0.25


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 2.0, 8.0])
def test_the_bound_of_the_area_is_that_of_randomized_response(epsilon: float) -> None:
    """Without δ the best attack is right with the probability e^ε / (1 + e^ε)."""
    assert auc_bound(epsilon, 0.0) == pytest.approx(exp(epsilon) / (1 + exp(epsilon)))
    assert auc_bound(epsilon, DELTA) == pytest.approx(auc_bound(epsilon, 0.0), abs=2 * DELTA)


def test_an_attack_on_gaussian_noise_shows_less_than_its_epsilon_and_half_the_noise_more() -> None:
    """The noise multiplier for ε 1 at δ 1e-5 is 3.73; with a third of it ε is 3.7."""
    rng = np.random.default_rng(1)
    others = rng.normal(size=20_000)
    private, loud = rng.normal(1 / 3.73, size=20_000), rng.normal(4 / 3.73, size=20_000)
    assert 0.2 < measured_epsilon(private, others, DELTA) < 1
    assert excess(private, others, 1.0, DELTA) < 0.01
    assert measured_epsilon(loud, others, DELTA) > 1.5
    assert excess(loud, others, 1.0, DELTA) > 0.05


def test_an_attack_that_finds_no_member_shows_nothing() -> None:
    """All other cases have higher scores than the members."""
    assert measured_epsilon(np.zeros(100), np.ones(100), DELTA) == 0.0


def test_the_interval_of_the_area_covers_the_exact_one() -> None:
    """Members' scores are one deviation higher."""
    rng = np.random.default_rng(2)
    members = rng.random((200, 10)) < 0.5
    found = attack_result(rng.normal(size=(200, 10)) + members, members)
    low, high = found.auc_interval
    assert low < norm.cdf(1 / 2**0.5) < high
    assert low < found.auc < high
    assert found.trials == 200


def test_likelihood_ratios_find_members_whose_rows_are_answered_in_different_ways() -> None:
    """Rows are easy or hard; the loss alone tells that, and not which were trained on."""
    rng = np.random.default_rng(3)
    members = rng.random((40, 50)) < 0.5
    answers = rng.normal(scale=10, size=50) + 2 * members + rng.normal(size=(40, 50))
    ratios = likelihood_ratios(answers, members)
    assert auc(ratios[members], ratios[~members]) > 0.9
    assert auc(answers[members], answers[~members]) < 0.6


def test_log_odds_are_those_of_the_probabilities() -> None:
    """Two layers; the probabilities are a softmax of the last one."""
    rng = np.random.default_rng(4)
    shapes = {"a": (3, 4), "b": (4,), "c": (4, 2), "d": (2,)}
    weights = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    x, y = rng.normal(size=(6, 3)).astype(np.float32), np.array([0, 1, 0, 1, 0, 1])
    scores = np.maximum(x @ weights["a"] + weights["b"], 0) @ weights["c"] + weights["d"]
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    own = chances[np.arange(6), y]
    found = log_odds(weights, x, y)
    np.testing.assert_allclose(found.answers, np.log(own / (1 - own)), rtol=1e-6)
    np.testing.assert_array_equal(found.right, chances.argmax(axis=1) == y)
