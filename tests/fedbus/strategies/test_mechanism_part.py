"""Privacy mechanisms as the last update transform of a strategy, and the weights of its mean."""

import json
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbus.jobs import JobFile, JobFileError, canonical, parse
from fedbus.jobs.privacy_choice import MECHANISMS
from fedbus.strategies.combinations import strategy_faults
from fedbus.strategies.mechanism_rules import MECHANISM_RULES
from fedbus.strategies.part_factories import load_plugin
from fedbus.strategies.resolution import resolve_job
from tests.plugin_package import Install

FIXED: dict[str, Any] = {"noise_multiplier": 1.1, "clipping_norm": 2, "num_sampled_clients": 20}
EPSILON: dict[str, Any] = {"epsilon": 2, "clipping_norm": 1, "num_sampled_clients": 20}
WRITTEN: dict[str, dict[str, Any]] = {
    "dp-fixed": FIXED,
    "dp-adaptive": {"num_sampled_clients": 20},
    "dp-banded": {**FIXED, "min_separation": 9, "max_participations": 11, "bands": 5},
    "metric-privacy": FIXED,
    "ldp-laplace": EPSILON,
    "ldp-gaussian": FIXED,
    "ldp-randomized-response": EPSILON,
}


def job(mechanisms: dict[str, Any], **keys: Any) -> JobFile:  # noqa: ANN401 - whatever a job holds
    """Read a job with these mechanisms, as the controller does."""
    tree = {"model_name": "m", "num_rounds": 9, "privacy-mechanisms": mechanisms, **keys}

    def allowing_all(job: JobFile, /, *, complete: bool) -> Any:  # noqa: ANN401 - faults
        return strategy_faults(job, ("all",), complete=complete)

    return parse(json.dumps(tree).encode(), allowing_all)


def faults(mechanisms: dict[str, Any], **keys: Any) -> list[str]:  # noqa: ANN401 - as above
    """Return the faults of a job that is refused."""
    with pytest.raises(JobFileError) as caught:
        job(mechanisms, **keys)
    return [str(fault) for fault in caught.value.faults]


def test_every_mechanism_is_tried_here() -> None:
    """But for those of trainers."""
    assert {*WRITTEN} == {name for name in MECHANISMS if MECHANISM_RULES[name].has_part}


@pytest.mark.parametrize("strategy", ["fedavg", "fedmedian"])
@pytest.mark.parametrize("name", WRITTEN)
def test_a_mechanism_and_its_terms_state_the_same_noise(name: str, strategy: str) -> None:
    """The part computes the noise, the terms the ε: both must mean one multiplier."""
    strategy_ = resolve_job(job({name: WRITTEN[name]}, strategy=strategy))
    transform, terms = strategy_.update_transforms[-1], strategy_.privacy
    assert terms is not None
    assert (transform.id, terms.mechanism) == (name, name)
    part: Any = load_plugin("update_transforms", name, ())(**transform.parameters)
    if terms.release != "metric":
        assert terms.noise_multiplier == pytest.approx(part.noise_multiplier, rel=1e-12)
    assert strategy_.facts == (("norm_bit",) if name == "dp-adaptive" else ())


@pytest.mark.parametrize("name", WRITTEN)
def test_a_mean_is_bounded_and_its_divisor_fixed(name: str) -> None:
    """Where the collector's noise, or its shares, are those of the number of agents wanted."""
    found = resolve_job(job({name: WRITTEN[name]}, strategy="fedadam"))
    divided = not name.startswith("ldp-")
    expected = {"weighted": False, "divisor": 20} if divided else {"weighted": False}
    assert found.aggregator.parameters == expected
    bound = found.update_transforms[-1].parameters.get("bounded_by")
    assert bound == ("mean" if divided else None)
    other = resolve_job(job({name: WRITTEN[name]}, strategy="fedmedian"))
    assert other.update_transforms[-1].parameters.get("bounded_by") == ("norm" if divided else None)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_job_is_the_same_when_it_is_stored_and_read_again(name: str) -> None:
    """A restarted controller resolves the stored file."""
    found = job({name: WRITTEN[name]})
    assert resolve_job(parse(canonical(found))) == resolve_job(found)


def test_other_transforms_come_before_the_mechanism(install: Install) -> None:
    """On agents its half is the last; at the collector the first."""
    source = "class Halve:\n    def transform_update(self, update, rng): return update\n"
    install("acme_halve", "[fedbus.update_transforms]\nhalve = acme_halve:Halve", source)
    given = {"update_transforms": ["halve"]}
    found = resolve_job(job({"dp-fixed": FIXED}, strategy=given), ("all",))
    assert [each.id for each in found.update_transforms] == ["halve", "dp-fixed"]
    job({"dp-fixed": FIXED}, strategy={"update_transforms": ["halve"] * 63})
    assert faults({"dp-fixed": FIXED}, strategy={"update_transforms": ["halve"] * 64}) == [
        "strategy.update_transforms: expected at most 63 beside a privacy mechanism, got 64"
    ]


def test_an_aggregator_of_a_third_party_is_bounded_by_the_norm(install: Install) -> None:
    """Whatever it does with the updates; its name may even begin as that of the mean."""
    source = "class First:\n    def weight(self, facts): return facts.agent == 'agent.1'\n"
    install("acme_first", "[fedbus.aggregators]\nmean-first = acme_first:First", source)
    found = resolve_job(job({"dp-fixed": FIXED}, strategy="mean-first"), ("all",))
    assert found.aggregator.parameters == {}
    assert found.update_transforms[-1].parameters["bounded_by"] == "norm"
    assert found.privacy is not None
    assert found.privacy.noise_multiplier == 1.1 / 40


REFUSED: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    (
        {"dp-fixed": {**FIXED, "noise_multiplier": 1e-4}},
        {},
        [
            (
                "privacy-mechanisms.dp-fixed.noise_multiplier: expected at least 0.001, got "
                "0.0001: less noise protects nothing"
            )
        ],
    ),
    (
        {"dp-fixed": {**FIXED, "server_side_noising": False}},
        {"strategy": "fedmedian"},
        [
            (
                "privacy-mechanisms.dp-fixed.server_side_noising: expected true, got false: the "
                "noise of agents adds up to the accounted noise in a mean only; with another "
                "aggregator the collector draws it"
            )
        ],
    ),
    (
        {"dp-fixed": FIXED},
        {"strategy": {"id": "fedavg", "parameters": {"divisor": 19}}},
        ["strategy.parameters.divisor: 19, but dp-fixed divides by 20; leave it out"],
    ),
    (
        {"dp-fixed": FIXED},
        {"strategy": {"id": "scaffold", "population": 50}},
        [
            (
                "privacy-mechanisms.dp-fixed: it bounds and noises the differences of an update "
                "only, and scaffold adds 'control' to it; choose a strategy without such arrays, "
                "such as fedprox or fedadam"
            )
        ],
    ),
    (
        {"dp-fixed": FIXED, "accounting": {"sampling": "poisson"}},
        {"strategy": {"id": "krum", "population": 50}},
        [
            (
                "privacy-mechanisms.accounting.sampling: poisson, so a round may have no update, "
                "but krum with these parameters needs 3 updates; leave it out, or choose another "
                "aggregator: mean and median need none"
            )
        ],
    ),
    (
        {"dp-fixed": FIXED},
        {"strategy": {"update_transforms": ["metric_privacy"]}},
        [
            (
                "strategy.update_transforms[0]: metric-privacy is a privacy mechanism, which the "
                "accountant must know; choose it as privacy-mechanisms.metric-privacy"
            )
        ],
    ),
]


def test_without_the_accountant_the_repository_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """It computes ε before each round."""
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    odd = {**FIXED, "noise_multiplier": 1.5432}  # no other test computes its ε
    job({"dp-fixed": odd, "accounting": {"target_epsilon": 0.1}})


@pytest.mark.parametrize(("mechanisms", "keys", "expected"), REFUSED)
def test_what_a_mechanism_cannot_work_with_is_refused(
    mechanisms: dict[str, Any], keys: dict[str, Any], expected: list[str]
) -> None:
    """With the key of the file, not of the transform that it becomes."""
    assert faults(mechanisms, **keys) == expected


def test_the_divisor_of_the_job_may_be_that_of_the_mechanism() -> None:
    """Stated again, it is no fault; neither has another aggregator one."""
    parameters = {"weighted": False, "divisor": "20"}
    found = resolve_job(job({"dp-fixed": FIXED}, strategy={"parameters": parameters}))
    assert found.aggregator.parameters == {"weighted": False, "divisor": 20}


def test_an_aggregator_that_cannot_be_loaded_is_the_fault() -> None:
    """And not what the mechanism would do with it."""
    (found,) = faults({"dp-fixed": FIXED}, strategy={"aggregator": "nowhere"})
    assert found.startswith("strategy.aggregator: no aggregators plug-in named 'nowhere'")


VALUES = st.sampled_from(
    [0, -1, 1e-9, 1, 2, 1.1, 20, 100, 1e308, 2**60, "20", "x", "nan", True, []]
)
ACCOUNTINGS = st.fixed_dictionaries(
    {},
    optional={
        "delta": st.sampled_from([1e-5, 0.04, 1, "x"]),
        "target_epsilon": st.sampled_from([0.1, 1000]),
        "sampling": st.sampled_from(["poisson", "any"]),
    },
)


@given(
    st.sampled_from([*WRITTEN]),
    st.sampled_from(["fedavg", "fedmedian", "krum", "scaffold", "qfedavg", "fedprox"]),
    st.dictionaries(st.sampled_from(["noise_multiplier", "epsilon", "clipping_norm"]), VALUES),
    ACCOUNTINGS,
)
@settings(max_examples=150)
def test_any_mechanism_is_resolved_or_refused(
    name: str, strategy: str, changed: dict[str, Any], accounting: dict[str, Any]
) -> None:
    """A resolved one is in the strategy, with terms; nothing is left out without a fault."""
    mechanisms = {name: {**WRITTEN[name], **changed}, "accounting": accounting}
    try:
        found = resolve_job(job(mechanisms, strategy={"id": strategy, "population": 50}))
    except JobFileError:
        return
    assert found.privacy is not None
    assert found.update_transforms[-1].id == found.privacy.mechanism == name
    assert found.facts in {(), ("norm_bit",)}
    assert not found.sections
