"""MistNet with a strategy or a training that it cannot work with."""

import json
from typing import Any

import pytest

from fedbus.jobs import JobFileError, parse
from fedbus.strategies.combinations import strategy_faults
from fedbus.strategies.privacy_rules import first_round_fault
from fedbus.strategies.privacy_warnings import privacy_warnings
from fedbus.strategies.resolution import resolve_job
from fedbus.wire.privacy import PrivacyTerms

MISTNET = {"features": 8, "trainers": ["agent.big"]}


def tree(
    mistnet: dict[str, Any] = MISTNET,
    accounting: dict[str, Any] | None = None,
    **keys: Any,  # noqa: ANN401 - whatever a job holds
) -> bytes:
    """Return a job file with MistNet."""
    mechanisms = {"mistnet": mistnet, "accounting": accounting}
    return json.dumps(
        {"model_name": "m", "num_rounds": 1, "privacy-mechanisms": mechanisms} | keys
    ).encode()


def faults(**keys: Any) -> list[str]:  # noqa: ANN401 - as above
    """Return the faults of a job with MistNet."""
    return [str(fault) for fault in strategy_faults(parse(tree(**keys)), ())]


@pytest.mark.parametrize(
    "keys",
    [{}, {"plugins": {"trainer": "torch"}}, {"strategy": "fedavg"}, {"round": {"agents": 9}}],
)
def test_mistnet_works_with_the_mean_and_torch(keys: dict[str, Any]) -> None:
    """There is nothing to say."""
    assert faults(**keys) == []


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"strategy": "median"}, "strategy: 'median', but with mistnet one agent trains"),
        ({"strategy": "fedadam"}, "strategy.server_optimizer: 'adam'"),
        (
            {"strategy": {"id": "fedprox", "parameters": {"mu": 0.1}}},
            "strategy.objective: 'proximal'",
        ),
        ({"plugins": {"trainer": "keras"}}, "plugins.trainer: 'keras', but only torch cuts"),
        (
            {"accounting": {"delta": 1e-6}},
            "privacy-mechanisms.accounting.delta: 1e-06, but the ε of mistnet holds with δ 0",
        ),
        ({"round": {"agents": 2001}}, "round.agents: expected at most 2000"),
    ],
)
def test_what_would_change_the_layers_before_the_cut_is_refused(
    keys: dict[str, Any], sentence: str
) -> None:
    """The features would be those of another model."""
    assert any(sentence in fault for fault in faults(**keys)), faults(**keys)


@pytest.mark.parametrize(
    ("mistnet", "key"),
    [
        ({}, "privacy-mechanisms.mistnet.features"),
        ({"features": 8}, "privacy-mechanisms.mistnet.trainers"),
        ({**MISTNET, "trainers": []}, "privacy-mechanisms.mistnet.trainers"),
        ({**MISTNET, "trainers": ["big"]}, "privacy-mechanisms.mistnet.trainers[0]"),
        ({**MISTNET, "cut_layer": 0}, "privacy-mechanisms.mistnet.cut_layer"),
        ({**MISTNET, "epsilon": 0}, "privacy-mechanisms.mistnet.epsilon"),
        ({**MISTNET, "epsilon": 1001}, "privacy-mechanisms.mistnet.epsilon"),
    ],
)
def test_a_promise_without_its_figures_is_refused(mistnet: dict[str, Any], key: str) -> None:
    """Each fault has its key."""
    with pytest.raises(JobFileError) as raised:
        parse(tree(mistnet))
    assert key in {fault.key for fault in raised.value.faults}


def test_the_reply_says_what_features_cost_and_what_they_do_not_cover() -> None:
    """However many rounds the job has; δ plays no part."""
    job = parse(tree(num_rounds=50))
    terms = resolve_job(job).privacy
    assert terms is not None
    labels, cost = privacy_warnings(job, terms)
    assert "labels are sent as they are, so ε does not cover them" in labels
    assert "after 50 rounds ε is 400 " in cost


def test_a_budget_that_the_features_exceed_is_refused() -> None:
    """Before any agent is asked."""
    accounting = {"target_epsilon": 399}
    fault = first_round_fault(terms_of(accounting))
    assert fault is not None
    assert fault.key == "privacy-mechanisms.accounting.target_epsilon"
    assert "400" in fault.problem
    assert first_round_fault(terms_of({"target_epsilon": 400})) is None


def terms_of(accounting: dict[str, Any]) -> PrivacyTerms:
    """Resolve the terms of a MistNet job."""
    terms = resolve_job(parse(tree(accounting=accounting))).privacy
    assert terms is not None
    return terms
