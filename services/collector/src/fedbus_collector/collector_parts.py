"""Parts of a strategy that a collector calls: aggregator, server optimizer, update transforms."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fedbus import plugins
from fedbus.plugins import BUILTIN_PACKAGE, Group, TransformsCombined
from fedbus.plugins.collector_part_calls import (
    PART_TIMEOUT_SECONDS,
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


@dataclass(frozen=True, slots=True)
class PartsFactory:
    """Makes the parts of strategies; `allowed` as for `plugins.load`."""

    allowed: tuple[str, ...] | None = None

    def third_party(self, strategy: Strategy) -> bool:
        """Return whether any part is not one that fedbus ships; raise PluginError as `make`."""
        return any(
            self._package(group, choice) != BUILTIN_PACKAGE for group, choice in _choices(strategy)
        )

    def make(self, strategy: Strategy) -> StrategyParts:
        """Import and make a strategy's parts; those of third parties may take seconds, or hang.

        Raises:
            PluginError: A part is not installed or allowed, or does not take its parameters, or its
                methods and attributes are not those of its kind.
        """
        optimizer, transforms = None, []
        for group, choice in _choices(strategy):
            part, caller = self._make(group, choice)
            if group == "aggregators":
                aggregator = AggregatorCalls(part, caller)
            elif group == "server_optimizers":
                optimizer = ServerOptimizerCalls(part, caller)
            elif isinstance(part, TransformsCombined):
                transforms.append(CombinedTransformCalls(part, caller))
        return StrategyParts(aggregator, optimizer, tuple(transforms))

    def _make(self, group: Group, choice: PluginChoice) -> tuple[Any, PartCaller]:
        third_party = self._package(group, choice) != BUILTIN_PACKAGE
        kind = group.removesuffix("s").replace("_", " ")
        caller = PartCaller(kind, choice.id, third_party, PART_TIMEOUT_SECONDS)
        factory: Any = plugins.load(
            group, choice.id, self.allowed
        )  # one of the factories of its kind
        return caller(lambda: factory(**choice.parameters)), caller

    def _package(self, group: Group, choice: PluginChoice) -> str:
        return plugins.find(group, choice.id, self.allowed).package


def _choices(strategy: Strategy) -> Iterator[tuple[Group, PluginChoice]]:
    """Yield the kind and the choice of each part that a collector may call."""
    yield "aggregators", strategy.aggregator
    if strategy.server_optimizer is not None:
        yield "server_optimizers", strategy.server_optimizer
    for transform in strategy.update_transforms:
        yield "update_transforms", transform
