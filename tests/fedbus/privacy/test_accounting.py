"""ε of each release, compared with `dp_accounting` used directly and with known figures."""

import logging
import sys
from math import exp, log
from typing import Any

import dp_accounting as dp
import pytest
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

from fedbus.errors import PluginError
from fedbus.privacy.accounting import (
    account,
    epsilon_of,
    event_of,
    round_up,
)
from fedbus.privacy.composed_noise import depends_on_participations
from fedbus.privacy.ledger import Composition, Ledger, planned_composition
from tests.fedbus.privacy.privacy_examples import entry, terms

POISSON = {"sampling": "poisson", "relation": "add-or-remove-one", "rate": 0.1}
BANDED = {"release": "banded", "bands": 9, "min_separation": 9, "max_participations": 11}
SGD = {"release": "dp-sgd", "unit": "example", "rate": 0.1, "steps": 50}
LAPLACE = {"release": "laplace", "relation": "replace-one", "noise": "agents"}
BITS = {"release": "randomized-response", "relation": "replace-one", "noise": "agents"}
Relation = dp.NeighboringRelation


def epsilon(rounds: int, times: int, **given: Any) -> float | None:  # noqa: ANN401
    """Return the ε of a job that runs as planned."""
    wanted = terms(**given)
    return epsilon_of(wanted, planned_composition(wanted, rounds, times))


def directly(event: Any, accountant: str, relation: Any, delta: float = 1e-5) -> float:  # noqa: ANN401
    """Return the ε of an event as `dp_accounting` says, without anything of ours."""
    made = {"rdp": RdpAccountant, "pld": PLDAccountant}[accountant]
    return float(made(neighboring_relation=relation).compose(event).get_epsilon(delta))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({**POISSON, "accountant": "rdp"}, 7.90),
        ({**POISSON, "accountant": "pld"}, 7.05),
        ({"accountant": "rdp"}, 96.1),
        ({"accountant": "pld"}, 91.8),
    ],
)
def test_known_figures(given: dict[str, Any], expected: float) -> None:
    """Sampled with q = 0.1, noise multiplier 1, 100 rounds, δ 1e-5; the last two not amplified."""
    assert epsilon(100, 100, **given) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("accountant", ["rdp", "pld"])
@pytest.mark.parametrize(
    ("given", "event", "relation"),
    [
        (POISSON, dp.PoissonSampledDpEvent(0.1, dp.GaussianDpEvent(2.0)), "ADD_OR_REMOVE_ONE"),
        ({**POISSON, "rate": 1.0}, dp.GaussianDpEvent(2.0), "ADD_OR_REMOVE_ONE"),
        ({}, dp.GaussianDpEvent(2.0), "REPLACE_SPECIAL"),
        ({"min_separation": 3}, dp.GaussianDpEvent(2.0), "REPLACE_SPECIAL"),
        (BANDED, None, "REPLACE_SPECIAL"),
        (SGD, None, "ADD_OR_REMOVE_ONE"),
    ],
)
def test_gaussian_noise_is_accounted_as_dp_accounting_does(
    given: dict[str, Any],
    event: Any,  # noqa: ANN401 - of a package without types
    relation: str,
    accountant: str,
) -> None:
    """Twelve rounds, the agent with most in eight of them; never less than the reference."""
    wanted = terms(**given, noise_multiplier=2.0, accountant=accountant)
    composition = planned_composition(wanted, 12, 8)
    whole = event and dp.SelfComposedDpEvent(event, 12 if "sampling" in given else 8)
    if given is BANDED:
        whole = dp.GaussianDpEvent(2.0)
    elif given is SGD:
        whole = dp.SelfComposedDpEvent(
            dp.PoissonSampledDpEvent(0.1, dp.GaussianDpEvent(2.0)), 50 * 8
        )
    reference = directly(whole, accountant, Relation[relation])
    found = account(wanted, composition)
    assert found.accountant == accountant
    assert found.epsilon == pytest.approx(reference, rel=1e-4, abs=2e-6)
    own = directly(event_of(wanted, composition), accountant, Relation[relation])
    assert own == pytest.approx(reference, rel=1e-6)


def test_unequal_noise_adds_up_as_its_composition_does() -> None:
    """1/σ² of an agent's entries adds up: true of RDP and PLD alike."""
    sigmas = {1: 0.9, 2: 2.0, 3: 5.0, 4: 5.0}
    ledger = Ledger(entry(n, 1, multiplier=sigma) for n, sigma in sigmas.items())
    event = dp.ComposedDpEvent([dp.GaussianDpEvent(sigma) for sigma in sigmas.values()])
    for accountant in ("rdp", "pld"):
        found = epsilon_of(terms(accountant=accountant), ledger.composition())
        reference = directly(event, accountant, Relation.REPLACE_SPECIAL)
        assert found == pytest.approx(reference, rel=1e-4)


def test_noise_that_agents_share_is_less_if_fewer_come() -> None:
    """Half of the agents bring half of the variance: the multiplier 1 is 0.707 then."""
    ledger = Ledger([entry(1, 1, multiplier=1.0), entry(2, 1, multiplier=0.5**0.5)])
    found = epsilon_of(terms(noise="agents"), ledger.composition())
    assert found == pytest.approx(dp.get_epsilon_gaussian(3**-0.5, 1e-5), rel=1e-6)


def test_noise_of_agents_is_not_amplified_by_sampling() -> None:
    """How much there is depends on who takes part, which the formula does not allow for."""
    local = epsilon(10, 3, **POISSON, noise="agents")
    assert local == pytest.approx(dp.get_epsilon_gaussian(3**-0.5, 1e-5), rel=1e-6)


def test_rounds_of_unequal_noise_are_amplified_one_by_one() -> None:
    """All rounds count, also those without agents: sampling hides who took part."""
    ledger = Ledger([entry(1, 1, 2), entry(2, multiplier=2.0), entry(3, 1, multiplier=2.0)])
    event = dp.ComposedDpEvent(
        [
            dp.PoissonSampledDpEvent(0.1, dp.GaussianDpEvent(1.0)),
            dp.SelfComposedDpEvent(dp.PoissonSampledDpEvent(0.1, dp.GaussianDpEvent(2.0)), 2),
        ]
    )
    for accountant in ("rdp", "pld"):
        found = epsilon_of(terms(**POISSON, accountant=accountant), ledger.composition())
        reference = directly(event, accountant, Relation.ADD_OR_REMOVE_ONE)
        assert found == pytest.approx(reference, rel=1e-4)


def test_banded_noise_is_one_release_of_the_whole_job() -> None:
    """ε does not grow with the rounds: the noise was drawn for the most participations."""
    assert epsilon(1, 1, **BANDED) == epsilon(100, 11, **BANDED)
    assert epsilon(0, 0, **BANDED) == 0


@pytest.mark.parametrize(
    ("given", "composition"),
    [
        (BANDED, Composition(entries=20, participations=12, multipliers=((1.0, 20),))),
        ({**BANDED, "max_participations": None}, Composition(entries=1, participations=1)),
        ({**BANDED, "bands": 10}, Composition(entries=1, participations=1)),
        (BANDED, Composition(entries=9, participations=2, separation=8)),
    ],
)
def test_banded_noise_has_no_epsilon_beyond_what_it_was_drawn_for(
    given: dict[str, Any], composition: Composition
) -> None:
    """The repository refuses such entries; if one is there in any case, no ε is claimed."""
    assert epsilon_of(terms(**given), composition) is None


def test_laplace_noise_costs_its_pure_epsilon_or_less() -> None:
    """A sum that is exact is not rounded up: a target of 9.9 allows three rounds of 3.3."""
    assert epsilon(9, 3, **LAPLACE, noise_multiplier=1 / 3.3, accountant="rdp") == 9.9
    many = terms(**LAPLACE, noise_multiplier=10.0, accountant="rdp")
    reference = directly(
        dp.SelfComposedDpEvent(dp.LaplaceDpEvent(10.0), 500), "rdp", Relation.ADD_OR_REMOVE_ONE
    )
    assert epsilon_of(many, planned_composition(many, 500, 500)) == pytest.approx(reference)
    assert reference < 50


def test_laplace_noise_of_an_update_needs_no_more_than_any_noise_of_that_pure_epsilon() -> None:
    """`LaplaceDpEvent` is the noise of one number: a PLD of it is no proof for an update."""
    pure = dp.pld.common.DifferentialPrivacyParameters(1.0, 0.0)
    losses = dp.pld.privacy_loss_distribution.from_privacy_parameters(pure, 1e-4)
    reference = losses.self_compose(30).get_epsilon_for_delta(1e-5)
    found = epsilon(30, 30, **LAPLACE)
    assert found is not None
    assert found <= reference
    event = dp.SelfComposedDpEvent(dp.LaplaceDpEvent(1.0), 30)
    assert found >= directly(event, "pld", Relation.ADD_OR_REMOVE_ONE)


def test_randomized_response_is_accounted_for_each_bit() -> None:
    """dp_accounting 0.6 takes a repeated one for a single one in PLD: the reference is RDP here."""
    p = 2 / (exp(0.05) + 1)
    given = {**BITS, "steps": 400, "noise_multiplier": p}
    event = dp.SelfComposedDpEvent(dp.RandomizedResponseDpEvent(p, 2), 800)
    reference = directly(event, "rdp", Relation.REPLACE_ONE)
    rdp = epsilon(3, 2, **given, accountant="rdp")
    pld = epsilon(3, 2, **given, accountant="pld")
    assert rdp == pytest.approx(reference, rel=1e-6)
    assert pld is not None
    assert reference / 2 < pld <= reference
    assert directly(event, "pld", Relation.REPLACE_ONE) == pytest.approx(0.05, rel=0.01)
    bits = dp.pld.privacy_loss_distribution.from_randomized_response(p, 2)
    finest = bits.self_compose(800).get_epsilon_for_delta(1e-5)
    assert pld == pytest.approx(finest, abs=800 * 1e-4)


def test_one_random_bit_costs_its_pure_epsilon() -> None:
    """A bit that is drawn with p is right with 1 - p/2; p = 1 says nothing."""
    bit = {**BITS, "noise_multiplier": 2 / (exp(1.1) + 1), "delta": 0.0}
    assert epsilon(1, 1, **bit) == 1.1
    assert epsilon(9, 4, **bit) == 4.4
    for delta in (0.0, 1e-5):
        assert epsilon(9, 4, **{**bit, "noise_multiplier": 1.0, "delta": delta}) == 0
        assert epsilon(9, 4, **{**bit, "noise_multiplier": 1.5, "delta": delta}) is None
    assert epsilon(9, 4, **{**bit, "noise_multiplier": 0.0}) is None


def test_features_are_sent_once() -> None:
    """Whatever the number of entries; `steps` is the number of features."""
    given = {"release": "features", "relation": "replace-one", "noise_multiplier": 0.5}
    assert epsilon(7, 7, **given, steps=10) == 20
    assert epsilon(0, 0, **given, steps=10) == 0
    wanted = terms(**given, steps=10)
    event = event_of(wanted, planned_composition(wanted, 7, 7))
    assert directly(event, "rdp", Relation.REPLACE_ONE) == pytest.approx(20, abs=0.01)
    for sure in (1e-3, 1e-320):
        wanted = terms(release="features", noise_multiplier=sure)
        assert event_of(wanted, planned_composition(wanted, 1, 1)) is not None


def test_metric_privacy_has_no_epsilon() -> None:
    """Its noise shrinks with the distance of the updates."""
    wanted = terms(release="metric", noise_multiplier=0.0, delta=0.0)
    assert epsilon_of(wanted, planned_composition(wanted, 3, 3)) is None
    assert event_of(wanted, planned_composition(wanted, 3, 3)) is None


def test_without_noise_or_delta_gaussian_noise_has_no_epsilon() -> None:
    """None is stored, where infinity could not be: JSON has no such number."""
    assert epsilon(1, 1, noise_multiplier=0.0) is None
    assert epsilon(3, 0, noise_multiplier=0.0, **POISSON) is None
    assert epsilon(1, 1, delta=0.0) is None
    assert epsilon(1, 0, noise_multiplier=0.0) == 0
    for hardly_any in (5e-324, 1e-200, 1e-160, 1e-6):
        assert epsilon(1, 1, noise_multiplier=hardly_any) is None
        assert epsilon(3, 0, noise_multiplier=hardly_any, **POISSON) is None


def test_dp_sgd_holds_for_agents_with_more_examples_at_the_same_steps() -> None:
    """With the job's steps and larger batches ε stays; with a lower rate it falls.

    If an agent with more examples also took more steps, its ε could be greater: so the steps are
    the job's, not the agent's.
    """
    for sigma in (0.7, 2.0):
        for steps in (5, 50):
            found = [
                epsilon(
                    1,
                    1,
                    **{**SGD, "rate": 1 / whole, "steps": steps, "accountant": "rdp"},
                    noise_multiplier=sigma,
                )
                for whole in (1, 2, 5, 50)
            ]
            assert all(found)
            assert found == sorted(found, key=lambda each: each or 0.0, reverse=True)
    own = [
        epsilon(1, 1, **{**SGD, "rate": 1 / whole, "steps": whole, "accountant": "rdp"})
        for whole in (1, 2)
    ]
    assert own == [pytest.approx(4.729, abs=0.001), pytest.approx(5.377, abs=0.001)]


@pytest.mark.parametrize(
    ("given", "rounds"),
    [
        ({**POISSON, "noise_multiplier": 0.05}, 10),
        ({**POISSON, "delta": 1e-11}, 10),
        ({**POISSON, "delta": 1e-9}, 200_000),
    ],
)
def test_a_pld_that_would_be_slow_or_inexact_is_replaced(
    given: dict[str, Any], rounds: int
) -> None:
    """What was used is said, and stored with ε."""
    wanted = terms(**given)
    composition = planned_composition(wanted, rounds, 1)
    found = account(wanted, composition)
    assert found.accountant == "rdp"
    assert found.epsilon == epsilon_of(terms(**given, accountant="rdp"), composition)


def test_a_pld_of_many_rounds_stays_an_upper_bound() -> None:
    """Intervals get wider as ε grows, so that the time stays near a second."""
    wanted = terms(**{**POISSON, "rate": 0.01}, noise_multiplier=0.5)
    found = account(wanted, planned_composition(wanted, 10_000, 1))
    assert found.accountant == "pld"
    assert found.epsilon == pytest.approx(43.3665, abs=0.01)  # with intervals of 1e-4
    assert found.epsilon is not None
    assert found.epsilon >= 43.3664


def test_epsilon_is_rounded_up() -> None:
    """A figure that is stored or shown must not be less than what was spent."""
    assert round_up(1.0000001) == 1.000001
    assert round_up(1.0) > 1.0
    for sigma in (0.7, 1.3, 4.0):
        exact = dp.get_epsilon_gaussian(sigma, 1e-5)
        found = epsilon(1, 1, noise_multiplier=sigma)
        assert found is not None
        assert 0 < found - exact < 2e-6


@pytest.mark.parametrize(
    ("given", "grows"),
    [({}, True), (SGD, True), (LAPLACE, True), (BITS, True), (POISSON, False), (BANDED, False)],
)
def test_epsilon_grows_with_the_participations_of_one_agent(
    given: dict[str, Any], grows: bool
) -> None:
    """So another cohort may have ε left where one has not; elsewhere only the rounds count."""
    assert depends_on_participations(terms(**given)) == grows
    quick = {"accountant": "rdp", "noise_multiplier": 0.9, **given}
    assert (epsilon(11, 11, **quick) != epsilon(11, 1, **quick)) == grows


def test_more_rounds_cost_more() -> None:
    """Otherwise a budget could be spent again."""
    for given in ({}, POISSON, SGD, {**LAPLACE, "noise_multiplier": 9.0}):
        found = [epsilon(n, n, **given) or 0.0 for n in (1, 2, 3, 10, 40)]
        assert found == sorted(found)
        assert found[0] < found[-1]


def test_a_negative_divergence_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """dp_accounting takes one, which rounding errors cause, for an ε of zero."""

    class Negative(RdpAccountant):  # type: ignore[misc] # of a package without types
        @property
        def rdp(self) -> Any:  # noqa: ANN401
            found = super().rdp
            found[3] = -1e-9
            return found

    event = dp.PoissonSampledDpEvent(0.1037, dp.GaussianDpEvent(1.0))
    expected = directly(event, "rdp", Relation.ADD_OR_REMOVE_ONE)
    monkeypatch.setattr(dp.rdp, "RdpAccountant", Negative)
    found = epsilon(1, 1, **{**POISSON, "rate": 0.1037}, accountant="rdp")
    assert found == pytest.approx(expected, abs=2e-6)


def test_warnings_of_dp_accounting_are_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """It warns five times for each rate about orders that it leaves out."""
    assert epsilon(7, 7, **{**POISSON, "rate": 0.11}, accountant="rdp")
    assert caplog.records == []
    logging.getLogger("absl").warning("of another package")
    assert len(caplog.records) == 1


def test_what_is_missing_is_said_with_the_command_that_mends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only the repository and `fedbus privacy plan` need the package."""
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(PluginError, match=r'pip install "fedbus\[accounting\]"'):
        epsilon(1, 1, noise_multiplier=1.2345)


def test_pure_odds() -> None:
    """The ε of a bit is the log of the odds of the true answer."""
    p = 0.4
    assert epsilon(1, 1, **BITS, noise_multiplier=p, delta=0.0) == round_up(
        log((1 - p / 2) / (p / 2))
    )
