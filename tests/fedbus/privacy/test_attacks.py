"""Attacks on models and on what mechanisms publish: they succeed without noise and fail with it.

Seeds are fixed. `python -m benchmarks.privacy` runs the same with more models.
"""

from dataclasses import replace
from functools import cache

import pytest

from benchmarks.privacy.overfitted_models import AttackedModels, OverfittedModels, attacked_models
from benchmarks.privacy.participation_attacks import SETTING, attacked_participation
from benchmarks.privacy.private_results import PAGE, read_parts, tables, with_parts
from benchmarks.privacy.release_attacks import RELEASES, AttackedRelease, attacked_release

DP_SGD = OverfittedModels(
    name="dp-sgd", epsilon=2.0, memorized=True, epochs=20, learning_rate=2.0, rows=60, batch_size=30
)
MODELS = 12
RELEASED = 160


@cache
def attacked(kind: OverfittedModels) -> AttackedModels:
    """Attack models, once for all tests."""
    return attacked_models(kind, MODELS)


@cache
def released(name: str, noise_factor: float = 1.0) -> AttackedRelease:
    """Attack releases, once for all tests."""
    return attacked_release(name, RELEASED, noise_factor=noise_factor)


def is_hidden(found: AttackedModels) -> bool:
    """Return whether neither attack tells members from others."""
    return max(found.loss.auc, found.likelihood.auc) < 0.65 and (found.excess or 0.0) < 0.02


def test_a_model_without_privacy_gives_its_rows_away() -> None:
    """It has learned them by heart: both attacks find nearly all of them."""
    found = attacked(OverfittedModels(name="plain", memorized=True, rows=60, epochs=80))
    assert found.trained > 0.95
    assert found.likelihood.auc_interval[0] > 0.95
    assert found.loss.auc > 0.9
    assert found.likelihood.true_positives > 0.4
    assert not is_hidden(found)


def test_dp_sgd_hides_the_rows_of_a_model() -> None:
    """At ε 2 both attacks are close to a guess, and within the bound of any attack."""
    found = attacked(DP_SGD)
    assert found.noise_multiplier > 5
    assert is_hidden(found)
    assert found.bound is not None
    assert found.likelihood.auc_interval[1] < found.bound


def test_dp_sgd_without_its_noise_hides_nothing() -> None:
    """Same steps and clipping: so it is the noise that the test above measures."""
    found = attacked(replace(DP_SGD, noise=False))
    assert not is_hidden(found)
    assert found.likelihood.auc > 0.75
    assert found.excess is not None
    assert found.excess > 0.02


@pytest.mark.parametrize("name", ["dp-fixed, fixed cohorts", "dp-banded"])
def test_the_best_attack_on_all_versions_reaches_what_the_noise_allows(name: str) -> None:
    """No more, as it would with too little noise, and no less, as it would with too much."""
    found = released(name)
    assert found.exact is not None
    low, high = found.result.auc_interval
    assert low < found.exact < high
    assert released(name, 0.5).result.auc_interval[0] > found.exact
    assert released(name, 4.0).result.auc_interval[1] < found.exact


@pytest.mark.parametrize("name", RELEASES)
def test_the_best_attack_shows_no_more_than_the_epsilon(name: str) -> None:
    """For each mechanism; with a tenth of the noise that is accounted it shows more."""
    found = released(name)
    assert found.measured_epsilon < found.epsilon
    assert found.result.auc_interval[1] < found.bound
    loud = released(name, 0.1)
    assert loud.measured_epsilon > loud.epsilon
    assert loud.result.auc > loud.bound


def test_the_last_version_tells_whether_an_agent_took_part_only_without_privacy() -> None:
    """The agent's rows have wrong labels, which no other agent has taught the model."""
    setting = replace(SETTING, agents=60, cohort=30, rounds=4, epochs=2)
    assert attacked_participation(None, 10, setting).result.auc > 0.95
    assert attacked_participation(2.0, 16, setting).result.auc < 0.85


def test_the_page_of_results_shows_the_committed_figures() -> None:
    """A table cannot be changed without the figures that it is written from."""
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_parts(page, tables(read_parts()))
