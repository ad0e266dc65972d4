"""Resolution of a job's strategy: parameters reach the parts that take them."""

import pytest

from fedbus.errors import PluginError
from fedbus.jobs import StrategyConfig
from fedbus.strategies.resolution import resolve
from tests.plugin_package import Install

PARTS = """
from fedbus.plugins import Preset
from fedbus.training.params import PluginChoice

class Both:
    def __init__(self, *, alpha: float = 1.0, own: float = 2.0): pass
    def apply(self, base, combined, state): return base

class Other:
    def __init__(self, *, alpha: float = 1.0): pass
    def terms(self, start): pass

PRESET = Preset(
    aggregator=PluginChoice(id="mean"),
    server_optimizer=PluginChoice(id="both"),
    objective=PluginChoice(id="other"),
    renamed={"eta": "own"},
)
"""
ENTRIES = """
[fedbus.server_optimizers]
both = acme_parts:Both
[fedbus.objectives]
other = acme_parts:Other
[fedbus.strategies]
acme = acme_parts:PRESET
"""


def config(**keys: object) -> StrategyConfig:
    """Return the strategy of a job file."""
    return StrategyConfig.model_validate({"id": "acme", **keys})


def test_a_parameter_reaches_each_part_that_takes_it(install: Install) -> None:
    """FedDyn's `alpha` is one number to the server and to the agents: they must not differ."""
    install("acme_parts", ENTRIES, PARTS)
    strategy = resolve(config(parameters={"alpha": 0.5, "own": 3.0, "weighted": False}))
    assert strategy.server_optimizer is not None
    assert strategy.objective is not None
    assert strategy.server_optimizer.parameters == {"alpha": 0.5, "own": 3.0}
    assert strategy.objective.parameters == {"alpha": 0.5}
    assert strategy.aggregator.parameters == {"weighted": False}


def test_a_parameter_that_no_part_takes_is_refused(install: Install) -> None:
    """A mistyped name would otherwise train with a default."""
    install("acme_parts", ENTRIES, PARTS)
    with pytest.raises(PluginError, match="strategy 'acme' takes no alhpa, own1"):
        resolve(config(parameters={"alhpa": 0.5, "own1": 1, "own": 2}))


def test_a_parameter_under_two_names_is_refused(install: Install) -> None:
    """Neither of two values is the one that was meant."""
    install("acme_parts", ENTRIES, PARTS)
    assert resolve(config(parameters={"eta": 4.0})).server_optimizer is not None
    with pytest.raises(PluginError, match="'acme': eta, own are one parameter; give one name"):
        resolve(config(parameters={"eta": 4.0, "own": 3.0}))
