"""Trial of a strategy, or of one of its parts, as a collector and agents call them."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, cast

from fedbus.jobs import StrategyConfig
from fedbus.plugins import Group, TransformsCombined, TransformsUpdate, load
from fedbus.plugins.collector_part_calls import (
    AggregatorCalls,
    CombinedTransformCalls,
    ServerOptimizerCalls,
)
from fedbus.plugins.part_caller import PartCaller
from fedbus.plugins.strategy_inspection import part_faults
from fedbus.simulation.agent_part_trial import try_objective, try_transform_of_updates
from fedbus.simulation.aggregator_trial import try_aggregator
from fedbus.simulation.privacy_mechanism_trial import try_privacy_mechanism
from fedbus.simulation.server_part_trial import try_server_optimizer, try_transform_of_combined
from fedbus.strategies.factory_parameters import parameters_of
from fedbus.strategies.resolution import resolve
from fedbus.text import in_given_order
from fedbus.training.params import Argument, PluginChoice


def try_strategy(name: str, parameters: Mapping[str, Argument]) -> Iterator[str]:
    """Resolve a strategy by its id, as a controller does, and try its parts.

    Raises:
        PluginError: A part is not installed, refuses its parameters, or fails.
    """
    found = resolve(StrategyConfig(id=name, parameters=dict(parameters)))
    parts: list[tuple[Group, PluginChoice | None]] = [
        ("aggregators", found.aggregator),
        ("server_optimizers", found.server_optimizer),
        ("objectives", found.objective),
    ]
    for group, choice in parts:
        if choice is None:
            continue
        shown = in_given_order(f"{name} {value}" for name, value in choice.parameters.items())
        kind = group.removesuffix("s").replace("_", " ")
        yield f"{kind} {choice.id}: {shown or 'no parameters'}"
        factory = cast("Callable[..., object]", load(group, choice.id))
        yield from try_part(group, choice.id, factory, choice.parameters)


def try_part(
    group: Group, name: str, factory: Callable[..., object], parameters: Mapping[str, Argument]
) -> Iterator[str]:
    """Make a part of a strategy, and try it; yield a sentence for each thing that it did.

    Raises:
        PluginError: The factory refused the parameters, or the part violated its protocol.
    """
    caller = PartCaller(group.removesuffix("s").replace("_", " "), name, third_party=True)
    part: Any = caller(partial(factory, **_read(factory, parameters, caller)))
    if faults := list(part_faults(group, part)):
        raise caller.error("; ".join(faults))
    match group:
        case "aggregators":
            yield from try_aggregator(AggregatorCalls(part, caller))
        case "server_optimizers":
            yield from try_server_optimizer(ServerOptimizerCalls(part, caller))
        case "objectives":
            yield from try_objective(part, caller)
        case _:
            yield from try_privacy_mechanism(part, caller)
            if isinstance(part, TransformsUpdate):
                yield from try_transform_of_updates(part, caller)
            if isinstance(part, TransformsCombined):
                yield from try_transform_of_combined(CombinedTransformCalls(part, caller))


def _read(
    factory: Callable[..., object], parameters: Mapping[str, Argument], caller: PartCaller
) -> dict[str, Argument]:
    """Return all parameters as the factory's annotations say, defaults included."""
    takes = parameters_of(factory)
    values = takes.defaults
    names = f"it takes {in_given_order(takes.named) or 'no parameters'}"
    for name, value in parameters.items():
        if not takes.takes(name):
            raise caller.error(f"unknown parameter {name!r}; {names}")
        try:
            values[name] = takes.named[name].read(value) if name in takes.named else value
        except ValueError as error:
            raise caller.error(f"{name}: {error}") from error
    for name, parameter in takes.named.items():
        if parameter.required and name not in values:
            raise caller.error(
                f"parameter {name!r} is missing: {parameter.expected}; give it with --config "
                f"'{{\"{name}\": …}}'"
            )
    return values
