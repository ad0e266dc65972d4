"""Parts of a strategy that a collector calls: aggregator, server optimizer, update transforms."""

from dataclasses import dataclass
from typing import Any

from fedbus import plugins
from fedbus.plugins import BUILTIN_PACKAGE, Group, TransformsCombined
from fedbus.plugins.strategy_calls import (
    AggregatorCalls,
    CombinedTransformCalls,
    PartCaller,
    ServerOptimizerCalls,
)
from fedbus.training.params import PluginChoice
from fedbus.wire.strategies import Strategy


@dataclass(frozen=True, slots=True)
class StrategyParts:
    """The parts of a strategy, made with the parameters of the job."""

    aggregator: AggregatorCalls
    optimizer: ServerOptimizerCalls | None = None
    transforms: tuple[CombinedTransformCalls, ...] = ()

    @property
    def third_party(self) -> bool:
        """Whether any part is not one that fedbus ships."""
        optimizer = () if self.optimizer is None else (self.optimizer.caller,)
        callers = (self.aggregator.caller, *optimizer, *(each.caller for each in self.transforms))
        return any(caller.third_party for caller in callers)


def make_parts(strategy: Strategy, allowed: tuple[str, ...] | None = None) -> StrategyParts:
    """Make a strategy's parts; `allowed` as for `plugins.load`.

    Raises:
        PluginError: A part is not installed or allowed, or does not take its parameters, or its
            methods and attributes are not those of its kind.
    """
    aggregator, caller = _make("aggregators", strategy.aggregator, allowed)
    calls = AggregatorCalls(aggregator, caller)
    optimizer = None
    if strategy.server_optimizer is not None:
        optimizer = ServerOptimizerCalls(
            *_make("server_optimizers", strategy.server_optimizer, allowed)
        )
    made = [_make("update_transforms", each, allowed) for each in strategy.update_transforms]
    return StrategyParts(
        calls,
        optimizer,
        tuple(
            CombinedTransformCalls(part, caller)
            for part, caller in made
            if isinstance(part, TransformsCombined)
        ),
    )


def _make(
    group: Group, choice: PluginChoice, allowed: tuple[str, ...] | None
) -> tuple[Any, PartCaller]:
    package = plugins.find(group, choice.id, allowed).package
    kind = group.removesuffix("s").replace("_", " ")
    caller = PartCaller(kind, choice.id, package != BUILTIN_PACKAGE)
    factory: Any = plugins.load(group, choice.id, allowed)  # one of the factories of its kind
    return caller(lambda: factory(**choice.parameters)), caller
