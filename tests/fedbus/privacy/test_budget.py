"""Spent ε of a job and of its model, and the sentence that refuses a job more of it."""

import pytest

from fedbus.privacy.accounting import epsilon_of
from fedbus.privacy.budget import budget_fault, spent_of
from fedbus.privacy.ledger import Composition, Ledger, planned_composition
from fedbus.wire.privacy import PrivacySpent
from tests.fedbus.privacy.privacy_examples import entry, terms


def test_what_is_spent_says_how_it_was_computed() -> None:
    """A figure without unit, relation and accountant could not be compared with another."""
    ledger = Ledger([entry(1, 1, 2), entry(2, 1), entry(3)])
    wanted = terms(target_epsilon=9.0, noise_multiplier=1.0)
    spent = spent_of(wanted, ledger.composition())
    assert spent == PrivacySpent(
        mechanism="dp-fixed",
        unit="agent",
        relation="zero-out",
        sampling="any",
        accountant="pld",
        epsilon=epsilon_of(wanted, ledger.composition()),
        delta=1e-5,
        target_epsilon=9.0,
        entries=3,
        participations=2,
        model_epsilon=spent.epsilon,
        model_delta=1e-5,
    )
    assert spent.epsilon == pytest.approx(6.573, abs=0.001)


def test_jobs_of_one_model_add_up() -> None:
    """Basic composition: ε and δ of all jobs that trained the model; unknown if one is."""
    wanted = terms(release="laplace", noise_multiplier=0.5, delta=0.0)
    composition = planned_composition(wanted, 1, 1)
    spent = spent_of(wanted, composition, [(1.5, 1e-6), (0.0, 0.0), (0.25, 2e-6)])
    assert spent.epsilon == 2.0
    assert spent.model_epsilon == pytest.approx(3.75, abs=2e-6)
    assert (spent.model_epsilon or 0.0) >= 3.75
    assert spent.model_delta == pytest.approx(3e-6)
    unknown = spent_of(wanted, composition, [(1.5, 1e-6), (None, 0.0)])
    assert (unknown.epsilon, unknown.model_epsilon) == (2.0, None)
    metric = terms(release="metric", noise_multiplier=0.0, delta=0.0)
    assert spent_of(metric, composition, [(1.0, 1e-6)]).model_epsilon is None


def test_a_job_without_an_entry_has_spent_nothing() -> None:
    """Its state is shown before its first round."""
    assert spent_of(terms(), Composition()).epsilon == 0


def test_a_job_is_refused_the_round_that_would_exceed_its_target() -> None:
    """The sentence is the reason with which the job ends."""
    wanted = terms(noise_multiplier=10.0, target_epsilon=1.8)
    before, after = (planned_composition(wanted, n, n) for n in (20, 21))
    assert budget_fault(wanted, planned_composition(wanted, 19, 19), before) is None
    assert budget_fault(wanted, before, after) == (
        "the privacy budget is spent: ε 1.77 of 1.8 after 20 ledger entries; one more would give "
        "1.81"
    )


def test_a_budget_that_allows_no_round_is_too_small() -> None:
    """Such a job would end without a version; its submission is refused with this sentence."""
    wanted = terms(target_epsilon=4.0)
    first = planned_composition(wanted, 1, 1)
    assert budget_fault(wanted, Composition(), first) == (
        "the privacy budget of ε 4 is too small: the first round would give 4.38"
    )
    silent = terms(target_epsilon=4.0, noise_multiplier=0.0)
    assert budget_fault(silent, Composition(), planned_composition(silent, 1, 1)) == (
        "the privacy budget of ε 4 is too small: the first round would give no finite ε"
    )
    assert budget_fault(
        silent, planned_composition(silent, 1, 1), planned_composition(silent, 2, 2)
    ) == (
        "the privacy budget is spent: no finite ε of 4 after 1 ledger entry; one more would give "
        "no finite ε"
    )


def test_a_job_without_a_target_may_go_on() -> None:
    """Its ε is only stated."""
    wanted = terms(noise_multiplier=0.0)
    assert budget_fault(wanted, Composition(), planned_composition(wanted, 1, 1)) is None
