"""Parts of private strategies: a mechanism that does not do what the terms promise is refused."""

from dataclasses import replace
from typing import Any

import pytest

from fedbus.errors import PluginError
from fedbus.training.params import Argument, PluginChoice
from fedbus.wire.privacy import PrivacyTerms
from fedbus.wire.strategies import Strategy
from fedbus_collector.collector_parts import PartsFactory
from tests.plugin_package import Install

ENTRIES = """
[fedbus.update_transforms]
quiet = acme_private:Quiet
loud = acme_private:Loud
far = acme_private:Far
bounds = acme_private:Bounds
silent = acme_private:Silent
blind = acme_private:Blind
plain = acme_private:Plain
"""
SOURCE = """
class Quiet:
    def refuses_update(self, facts, numbers):
        return ""

    def next_private_numbers(self, numbers, facts, noise):
        return {}

    def add_noise(self, combined, noise):
        return combined.update

class Loud(Quiet):
    collector_draws_noise = True
    needs_norm = True
    noise_multiplier = 1.0

class Blind(Loud):
    needs_norm = False

class Silent(Loud):
    noise_multiplier = None

class Far(Loud):
    needs_distance = True

class Bounds(Loud):
    needs_combined_norm = True

class Plain:
    def transform_combined(self, combined):
        return combined.update
"""
TERMS = PrivacyTerms(
    mechanism="loud", release="gaussian", noise_multiplier=1.0, delta=1e-5, cohort=3
)


def made(*transforms: str, terms: PrivacyTerms | None = TERMS, **more: Any) -> Strategy:  # noqa: ANN401 - of a strategy
    """Make a strategy with these transforms."""
    plain = Strategy(
        id="fedavg",
        aggregator=PluginChoice(id="mean", parameters={"weighted": False, "divisor": 3}),
        update_transforms=tuple(PluginChoice(id=name) for name in transforms),
        privacy=terms,
    )
    return replace(plain, **more)


def test_the_last_transform_is_the_mechanism(install: Install) -> None:
    """It is no combined transform; the updates are kept only if they are compared."""
    install("acme_private", ENTRIES, SOURCE)
    parts = PartsFactory().make(made("plain", "loud"))
    assert parts.mechanism is not None
    assert parts.mechanism.caller.name == "loud"
    assert [one.caller.name for one in parts.transforms] == ["plain"]
    assert (parts.third_party, parts.keeps_updates) == (True, False)
    assert PartsFactory().make(made("far", terms=replace(TERMS, mechanism="far"))).keeps_updates
    plain = PartsFactory().make(made(terms=None))
    assert (plain.third_party, plain.mechanism) == (False, None)


@pytest.mark.parametrize(
    ("strategy", "sentence"),
    [
        (
            made("loud", "plain"),
            "update transform 'loud': a privacy mechanism must be the last transform",
        ),
        (
            made("loud", terms=None),
            "update transform 'loud': the job has no privacy terms",
        ),
        (
            made("loud", terms=replace(TERMS, mechanism="dp-fixed")),
            "update transform 'loud': the job's privacy terms are those of dp-fixed",
        ),
        (
            made("quiet", terms=replace(TERMS, mechanism="quiet")),
            "quiet: it draws no noise at the collector, against the job's privacy terms",
        ),
        (
            made("loud", terms=replace(TERMS, noise="agents")),
            "loud: it draws noise at the collector, against the job's privacy terms",
        ),
        (made(), "loud: it draws no noise at the collector, against the job's privacy terms"),
        (
            made("loud", sections=("control",)),
            "loud: arrays beside the differences would be sent without noise",
        ),
    ],
)
def test_a_mechanism_that_breaks_its_terms_is_refused(
    strategy: Strategy, sentence: str, install: Install
) -> None:
    """The round fails before an update is received."""
    install("acme_private", ENTRIES, SOURCE)
    with pytest.raises(PluginError) as failed:
        PartsFactory().make(strategy)
    assert str(failed.value) == sentence


@pytest.mark.parametrize(
    ("parameters", "said"), [({}, "None"), ({"weighted": False, "divisor": 2}, "2")]
)
def test_noise_is_for_a_mean_of_the_wanted_number_of_agents(
    parameters: dict[str, Argument], said: str, install: Install
) -> None:
    """With fewer as the divisor one update changes it more; a clipped one may be of any rule."""
    install("acme_private", ENTRIES, SOURCE)
    mean = PluginChoice(id="mean", parameters=parameters)
    with pytest.raises(PluginError) as failed:
        PartsFactory().make(made("loud", aggregator=mean))
    assert str(failed.value) == (
        f"aggregator 'mean': expected the divisor 3, the agents wanted in a round, got {said}: "
        "one update would count for more than loud adds noise for"
    )
    bounds = made("bounds", terms=replace(TERMS, mechanism="bounds"), aggregator=mean)
    assert PartsFactory().make(bounds).mechanism is not None


BANDED: dict[str, Argument] = {
    "noise_multiplier": 1.0,
    "clipping_norm": 1.0,
    "num_sampled_clients": 3,
    "bands": 2,
    "min_separation": 2,
    "max_participations": 4,
}


@pytest.mark.parametrize(
    ("parameter", "given", "said"),
    [
        (
            "noise_multiplier",
            0.5,
            "noise_multiplier is 0.5, and that of the job's privacy terms 1.0",
        ),
        (
            "num_sampled_clients",
            9,
            "num_sampled_clients is 9, and that of the job's privacy terms 3",
        ),
        ("bands", 1, "bands is 1, and that of the job's privacy terms 2"),
        ("min_separation", 3, "min_separation is 3, and that of the job's privacy terms 2"),
        ("max_participations", 1, "max_participations is 1, and that of the job's privacy terms 4"),
        ("clipping_norm", 2.0, ""),
    ],
)
def test_a_mechanism_with_less_noise_than_the_terms_is_refused(
    parameter: str, given: Argument, said: str
) -> None:
    """The ledger's entry would state an ε of noise that is never drawn."""
    terms = PrivacyTerms(
        mechanism="dp-banded",
        release="banded",
        correlated=True,
        noise_multiplier=1.0,
        delta=1e-5,
        cohort=3,
        bands=2,
        min_separation=2,
        max_participations=4,
    )
    choice = PluginChoice(id="dp-banded", parameters={**BANDED, parameter: given})
    strategy = made(terms=terms, update_transforms=(choice,))
    if not said:
        assert PartsFactory().make(strategy).mechanism is not None
        return
    with pytest.raises(PluginError) as failed:
        PartsFactory().make(strategy)
    assert str(failed.value) == f"update transform 'dp-banded': its {said}"


def test_a_mechanism_that_states_no_noise_is_refused(install: Install) -> None:
    """It cannot be compared with the terms."""
    install("acme_private", ENTRIES, SOURCE)
    terms = replace(TERMS, mechanism="silent")
    with pytest.raises(PluginError, match="its noise_multiplier is None, and that of the job's pr"):
        PartsFactory().make(made("silent", terms=terms))


def test_a_mechanism_that_measures_no_update_enforces_no_clipping(install: Install) -> None:
    """An agent that does not clip would change the mean by more than its noise covers."""
    install("acme_private", ENTRIES, SOURCE)
    terms = replace(TERMS, mechanism="blind")
    with pytest.raises(PluginError, match="it has no update measured, and the job's privacy terms"):
        PartsFactory().make(made("blind", terms=terms))
    trusted = replace(terms, clipping="trusted")
    assert PartsFactory().make(made("blind", terms=trusted)).mechanism is not None


@pytest.mark.parametrize("release", ["dp-sgd", "laplace"])
def test_terms_that_agents_keep_alone_need_no_mechanism_here(release: Any) -> None:  # noqa: ANN401 - a literal
    """Trainers and agents add the noise."""
    terms = replace(TERMS, mechanism=release, release=release, noise="agents")
    assert PartsFactory().make(made(terms=terms)).mechanism is None
