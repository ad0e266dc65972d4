"""Strategies on real data: published orderings, and attacks; the fast part of the experiments.

Seeds are fixed, and the margins are less than half of what was measured: other versions of numpy
round differently.
"""

from dataclasses import replace
from statistics import fmean

import pytest

from benchmarks.strategies.attacks import Attack
from benchmarks.strategies.in_memory_rounds import accuracies
from benchmarks.strategies.result_files import PAGE, read_results
from benchmarks.strategies.result_pages import tables, with_tables
from benchmarks.strategies.settings import Candidate, Setting
from benchmarks.strategies.simulated_services import simulated_accuracies
from fedbus.jobs import JobFileError

ONE_LABEL = Setting(data="digits", split="label-quantity:1", rounds=12)
MOMENTUM = Setting(data="digits", split="label-quantity:1", rounds=20, momentum=0.9)
UNEQUAL = Setting(data="digits", split="dirichlet:alpha=0.1", rounds=20, epochs=(2, 5))
ATTACKED = Setting(data="digits", split="iid", agents=20, cohort=20, rounds=12, epochs=(2, 2))
SIGN_FLIP = Attack(share=0.2, flip_sign=10)
FOUR = {"num_malicious_clients": 4}
SEEDS = (0, 1)


def reached(setting: Setting, strategy: str, rate: float, *, checked: bool = True) -> float:
    """Return the mean accuracy over all rounds and seeds."""
    candidate = Candidate(strategy, rate)
    return fmean(fmean(accuracies(setting, candidate, seed, checked=checked)) for seed in SEEDS)


def test_scaffold_is_above_fedavg_when_each_agent_has_one_label() -> None:
    """With plain SGD: its control variates then cancel the drift that slows down the mean."""
    assert reached(ONE_LABEL, "scaffold", 0.1) > reached(ONE_LABEL, "fedavg", 0.1) + 0.06


def test_scaffold_with_momentum_fails_as_published_and_is_refused() -> None:
    """NIID-Bench's failure of SCAFFOLD is that of a combination that no job may have."""
    with pytest.raises(JobFileError, match="momentum"):
        accuracies(MOMENTUM, Candidate("scaffold", 0.03), 0)
    last = accuracies(MOMENTUM, Candidate("scaffold", 0.03), 0, checked=False)[-1]
    assert last < 0.4
    for strategy in ("fedavg", "fedprox", "fednova"):
        assert accuracies(MOMENTUM, Candidate(strategy, 0.03), 0)[-1] > 0.7


def test_fednova_is_above_fedavg_when_agents_make_unequal_numbers_of_steps() -> None:
    """In the setting of its paper, at one learning rate for both."""
    assert reached(UNEQUAL, "fednova", 0.03) > reached(UNEQUAL, "fedavg", 0.03) + 0.02


def test_the_mean_collapses_under_sign_flips() -> None:
    """A fifth of the agents, each ten times as long, outweighs the others."""
    attacked = replace(ATTACKED, attack=SIGN_FLIP)
    assert accuracies(attacked, Candidate("fedavg", 0.3), 0)[-1] < 0.3


@pytest.mark.parametrize(
    ("rule", "parameters"),
    [
        ("fedmedian", {}),
        ("fedtrimmedavg", {"beta": 0.2}),
        ("krum", FOUR),
        ("multi-krum", FOUR),
        ("bulyan", FOUR),
        ("geometric-median", {}),
        ("norm-clipping", {}),
    ],
)
def test_robust_rules_survive_sign_flips(rule: str, parameters: dict[str, float]) -> None:
    """On IID data, which they assume; attacked, the mean predicts one class."""
    attacked = replace(ATTACKED, attack=SIGN_FLIP)
    assert accuracies(ATTACKED, Candidate("fedavg", 0.3), 0)[-1] > 0.8
    assert accuracies(attacked, Candidate(rule, 0.3, parameters), 0)[-1] > 0.7


def test_the_real_services_reach_the_same() -> None:
    """The same job files over all services, with agents that train by PyTorch in other batches.

    SCAFFOLD only does if each agent continues with its own control variate, and the server with
    its own.
    """
    setting = replace(ONE_LABEL, rounds=8)
    found = {}
    for name in ("scaffold", "fedavg"):
        candidate = Candidate(name, 0.1)
        found[name] = simulated_accuracies(setting, candidate, 0)[-1]
        assert found[name] == pytest.approx(accuracies(setting, candidate, 0)[-1], abs=0.08)
    assert found["scaffold"] > found["fedavg"] + 0.1


def test_the_page_shows_the_committed_figures() -> None:
    """A table cannot be changed without the figures that it is written from."""
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_tables(page, tables(read_results()))
