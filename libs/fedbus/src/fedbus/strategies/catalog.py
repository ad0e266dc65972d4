"""Catalog of the strategies that fedbus ships, with the parameters of their parts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, get_args

from fedbus import plugins
from fedbus.plugins import Group, Preset
from fedbus.strategies.factory_parameters import FactoryParameter, parameters_of
from fedbus.strategies.part_factories import PartGroup, load_plugin
from fedbus.training.params import PluginChoice

PART_GROUPS: Final[tuple[PartGroup, ...]] = get_args(PartGroup)


@dataclass(frozen=True, slots=True)
class ShippedStrategy:
    """A strategy that fedbus ships; `parameters` has those of all its parts."""

    id: str
    preset: Preset
    parameters: Mapping[str, FactoryParameter]


@cache
def shipped_strategies() -> tuple[ShippedStrategy, ...]:
    """Return the strategies that fedbus ships, by id."""
    presets = ((name, load_plugin("strategies", name, ())) for name in _shipped("strategies"))
    return tuple(ShippedStrategy(name, preset, _parameters(preset)) for name, preset in presets)


def shipped_parts(group: PartGroup) -> Iterator[tuple[str, Mapping[str, FactoryParameter]]]:
    """Yield the plug-ins of a kind that fedbus ships, with their parameters."""
    for name in _shipped(group):
        yield name, parameters_of(load_plugin(group, name, ())).named


def strategies_taking(parameter: str) -> tuple[str, ...]:
    """Return the ids of the shipped strategies with a parameter of this name."""
    return tuple(each.id for each in shipped_strategies() if parameter in each.parameters)


def parts_of(preset: Preset) -> tuple[tuple[PartGroup, PluginChoice], ...]:
    """Return the parts of a preset with their kinds."""
    parts: tuple[tuple[PartGroup, PluginChoice | None], ...] = (
        ("objectives", preset.objective),
        ("aggregators", preset.aggregator),
        ("server_optimizers", preset.server_optimizer),
    )
    return tuple((group, choice) for group, choice in parts if choice is not None)


def _parameters(preset: Preset) -> dict[str, FactoryParameter]:
    found: dict[str, FactoryParameter] = {}
    for group, choice in parts_of(preset):
        for name, parameter in parameters_of(load_plugin(group, choice.id, ())).named.items():
            value = choice.parameters.get(name, parameter.default)
            found.setdefault(name, replace(parameter, default=value))
    return found


def _shipped(group: Group) -> tuple[str, ...]:
    return plugins.allowed_names(group, ())
