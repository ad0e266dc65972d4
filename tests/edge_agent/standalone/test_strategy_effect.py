"""Strategies that an agent alone can use, and those that need a fleet."""

import pytest

from fedbus.errors import PluginError
from fedbus.jobs import JobFile, StrategyConfig
from fedbus_edge_agent.standalone.strategy_effect import privacy_reason, strategy_reason
from tests.plugin_package import Install


def test_a_job_that_promises_privacy_is_refused() -> None:
    """No ledger would say what it has spent."""
    tree = {"model_name": "m", "num_rounds": 1}
    assert privacy_reason(JobFile.model_validate(tree)) == ""
    mechanism = {"dp-sgd": {"noise_multiplier": 1, "least_examples": 100}}
    private = JobFile.model_validate({**tree, "privacy-mechanisms": mechanism})
    assert privacy_reason(private) == (
        "privacy-mechanisms.dp-sgd needs a fleet: an agent alone accounts for no ε"
    )


@pytest.mark.parametrize("name", ["fedavg", "FedAdam", "avg", "median", "not-installed"])
def test_a_strategy_that_only_combines_updates_has_no_effect(name: str) -> None:
    """A fleet's job file can be used unchanged; an aggregator need not be installed here."""
    assert strategy_reason(StrategyConfig(id=name), ()) == ""


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"id": "fedprox"}, "strategy 'fedprox' adds the objective 'proximal' to the loss, which"),
        ({"id": "FedProx"}, "strategy 'FedProx' adds the objective 'proximal' to the loss, which"),
        ({"id": "fed_prox"}, "strategy 'fed_prox' adds the objective 'proximal' to the loss"),
        ({"id": "prox"}, "strategy 'prox' adds the objective 'proximal' to the loss"),
        ({"id": "dyn"}, "strategy 'dyn' adds the objective 'feddyn' to the loss"),
        ({"id": "scaffold"}, "strategy 'scaffold' adds the objective 'scaffold' to the loss"),
        ({"objective": {"id": "own"}}, "strategy 'fedavg' adds the objective 'own' to the loss"),
        (
            {"update_transforms": [{"id": "noise"}]},
            "strategy.update_transforms: 'noise' needs a fleet",
        ),
    ],
)
def test_a_strategy_that_changes_the_training_is_refused(
    given: dict[str, object], reason: str
) -> None:
    """It would train something else than the file says."""
    assert strategy_reason(StrategyConfig.model_validate(given), ()).startswith(reason)


def test_a_strategy_that_is_not_allowed_is_not_imported(install: Install) -> None:
    """Whether it has an objective is not known then."""
    install("acme_preset", "[fedbus.strategies]\nacme = acme_preset:ACME", "raise SystemExit\n")
    with pytest.raises(
        PluginError, match="strategies plug-in 'acme' of acme_preset is not allowed"
    ):
        strategy_reason(StrategyConfig(id="acme"), ())
