"""Shipped strategies: each resolves, each part is reachable, each message holds its parameters."""

import inspect
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from fedbus import plugins
from fedbus.jobs import StrategyConfig
from fedbus.plugins import BUILTIN_PACKAGE, AfterTraining, Group, Objective, ServerOptimizer
from fedbus.plugins.discovery import find_all
from fedbus.strategies.objectives.feddyn_objective import FedDynObjective
from fedbus.strategies.objectives.proximal import Proximal
from fedbus.strategies.objectives.scaffold_objective import ScaffoldObjective
from fedbus.strategies.resolution import resolve
from fedbus.strategies.server_optimizers.adagrad import Adagrad
from fedbus.strategies.server_optimizers.adam import Adam
from fedbus.strategies.server_optimizers.feddyn_server import FedDynServer
from fedbus.strategies.server_optimizers.momentum import Momentum
from fedbus.strategies.server_optimizers.scaffold_server import ScaffoldServer
from fedbus.strategies.server_optimizers.sgd import Sgd
from fedbus.strategies.server_optimizers.yogi import Yogi
from fedbus.training.params import PluginChoice
from fedbus.wire import codec
from fedbus.wire.strategies import FactName, Strategy
from tests.fedbus.strategies.federation import made

OPTIMIZERS: tuple[ServerOptimizer, ...] = (
    *(Adagrad(), Adam(), FedDynServer(), Momentum(), ScaffoldServer(), Sgd(), Yogi()),
)
OBJECTIVES: tuple[Objective, ...] = (FedDynObjective(), Proximal(), ScaffoldObjective())
KEEPING: tuple[AfterTraining, ...] = (FedDynObjective(), ScaffoldObjective())
"""Compared with the protocols by mypy."""

PARTS: tuple[Group, ...] = ("aggregators", "server_optimizers", "objectives")


def shipped(group: Group) -> list[str]:
    """Return the names of the plug-ins of a kind that fedbus ships."""
    return [plugin.name for plugin in find_all(group) if plugin.package == BUILTIN_PACKAGE]


def config(strategy: str, **parameters: Any) -> StrategyConfig:  # noqa: ANN401 - any job's
    """Return the strategy of a job file."""
    return StrategyConfig.model_validate({"id": strategy, "parameters": parameters})


def parts_of(strategy: Strategy) -> Iterator[tuple[Group, PluginChoice]]:
    """Yield the parts of a strategy that it has."""
    choices = strategy.aggregator, strategy.server_optimizer, strategy.objective
    for group, choice in zip(PARTS, choices, strict=True):
        if choice is not None:
            yield group, choice


@pytest.mark.parametrize("name", shipped("strategies"))
def test_every_preset_resolves_without_parameters(name: str) -> None:
    """So `"strategy": "fedadam"` is a job; its parts state what they need in known words."""
    strategy = resolve(config(name))
    assert plugins.load("strategies", name).source
    assert set(strategy.facts) <= set(get_args(FactName))
    objective = made("objectives", strategy.objective)
    optimizer = made("server_optimizers", strategy.server_optimizer)
    assert set(getattr(objective, "server_state", ())) <= set(strategy.state)
    assert set(getattr(objective, "sections", ())) == set(strategy.sections)
    assert set(getattr(optimizer, "sections", ())) == set(strategy.sections)
    assert isinstance(objective, AfterTraining) or not strategy.sections


@pytest.mark.parametrize("name", shipped("strategies"))
def test_a_resolved_strategy_passes_through_messages(name: str) -> None:
    """The collector and the agents get what the controller resolved, as the same types."""
    strategy = resolve(config(name))
    assert codec.unpack(Strategy, codec.pack(strategy)) == strategy
    assert codec.from_json(Strategy, codec.to_json(strategy)) == strategy
    for group, choice in parts_of(codec.unpack(Strategy, codec.pack(strategy))):
        assert made(group, choice) is not None


@pytest.mark.parametrize("name", shipped("strategies"))
def test_each_parameter_of_a_preset_can_be_given(name: str) -> None:
    """Each reaches the part whose factory takes it, under the name of the factory's argument."""
    preset = plugins.load("strategies", name)
    for group, choice in parts_of(resolve(config(name))):
        for parameter, value in choice.parameters.items():
            found = dict(parts_of(resolve(config(name, **{parameter: value}))))
            assert found[group].parameters[parameter] == value
            assert type(found[group].parameters[parameter]) is type(value)
    own = {name for _, choice in parts_of(resolve(config(name))) for name in choice.parameters}
    assert set(preset.renamed.values()) <= own


@pytest.mark.parametrize(("group", "name"), [(g, name) for g in PARTS for name in shipped(g)])
def test_every_part_takes_keyword_arguments_with_defaults(group: Group, name: str) -> None:
    """A job gives parameters by name; docs/job-file.md has the default of each."""
    factory = plugins.load(group, name)
    assert callable(factory)
    for each in inspect.signature(factory).parameters.values():
        assert each.kind is inspect.Parameter.KEYWORD_ONLY, each
        assert each.default is not inspect.Parameter.empty, each
        assert each.annotation is not inspect.Parameter.empty, each
    assert factory() is not None


def test_every_part_is_one_that_the_type_check_knows() -> None:
    """A part that is not in the tuples above is not compared with its protocol."""
    known: dict[Group, tuple[object, ...]] = {
        "server_optimizers": OPTIMIZERS,
        "objectives": OBJECTIVES,
    }
    for group, made_parts in known.items():
        factories = {plugins.load(group, name) for name in shipped(group)}
        assert factories == {type(each) for each in made_parts}
    assert {type(each) for each in OBJECTIVES if isinstance(each, AfterTraining)} == {
        type(each) for each in KEEPING
    }


@pytest.mark.parametrize("group", PARTS)
def test_every_part_has_a_strategy(group: Group) -> None:
    """What no strategy uses is found by few."""
    strategies = map(resolve, map(config, shipped("strategies")))
    used = {choice.id for each in strategies for kind, choice in parts_of(each) if kind == group}
    assert used == set(shipped(group))


@pytest.mark.parametrize("name", ["scaffold", "feddyn"])
def test_scaffold_and_feddyn_average_unweighted_unless_the_job_says_otherwise(name: str) -> None:
    """The server's state is the mean of all agents' arrays only if each agent counts the same."""
    assert resolve(config(name)).aggregator.parameters == {"weighted": False}
    weighted = resolve(config(name, weighted=True)).aggregator
    assert weighted.parameters == {"weighted": True}
    replaced = StrategyConfig.model_validate({"id": name, "aggregator": "mean"})
    assert resolve(replaced).aggregator.parameters == {"weighted": True}
