"""Parts of a strategy that a collector calls: aggregator, server optimizer, update transforms."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fedbus import plugins
from fedbus.errors import PluginError
from fedbus.plugins import BUILTIN_PACKAGE, Group, ProtectsCombined, TransformsCombined
from fedbus.plugins.collector_part_calls import (
    AggregatorCalls,
    CombinedTransformCalls,
    ServerOptimizerCalls,
)
from fedbus.plugins.part_caller import PART_TIMEOUT_SECONDS, PartCaller
from fedbus.plugins.privacy_mechanism_calls import PrivacyMechanismCalls
from fedbus.privacy.ledger_entries import is_drawn_by_collector
from fedbus.training.params import PluginChoice
from fedbus.wire.privacy import PrivacyTerms
from fedbus.wire.strategies import Strategy

_ROUNDING: Final = 1 + 1e-9
_STATED_TWICE: Final[Mapping[str, str]] = {
    "num_sampled_clients": "cohort",
    "bands": "bands",
    "min_separation": "min_separation",
    "max_participations": "max_participations",
}
"""Parameters of mechanisms that decide how much noise is drawn, and the terms that ε is for."""


@dataclass(frozen=True, slots=True)
class StrategyParts:
    """The parts of a strategy, made with the parameters of the job."""

    aggregator: AggregatorCalls
    optimizer: ServerOptimizerCalls | None = None
    transforms: tuple[CombinedTransformCalls, ...] = ()
    mechanism: PrivacyMechanismCalls | None = None

    @property
    def third_party(self) -> bool:
        """Whether any part is not one that fedbus ships."""
        calls = (self.aggregator, self.optimizer, *self.transforms, self.mechanism)
        return any(one.caller.third_party for one in calls if one is not None)

    @property
    def keeps_updates(self) -> bool:
        """Whether updates are kept until the round closes; else they are added to a total."""
        compares = self.mechanism is not None and self.mechanism.needs_distance
        return compares or not self.aggregator.streams


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
        optimizer, transforms, mechanism = None, [], None
        for group, choice in _choices(strategy):
            part, caller = self._make(group, choice)
            if mechanism is not None:
                raise mechanism.caller.error("a privacy mechanism must be the last transform")
            if group == "aggregators":
                aggregator = AggregatorCalls(part, caller)
            elif group == "server_optimizers":
                optimizer = ServerOptimizerCalls(part, caller)
            elif isinstance(part, ProtectsCombined):
                mechanism = PrivacyMechanismCalls(part, caller)
            elif isinstance(part, TransformsCombined):
                transforms.append(CombinedTransformCalls(part, caller))
        parts = StrategyParts(aggregator, optimizer, tuple(transforms), mechanism)
        if fault := privacy_fault(strategy, parts):
            raise PluginError(fault)
        return parts

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


def privacy_fault(strategy: Strategy, parts: StrategyParts) -> str:
    """Return why a strategy's parts do not keep what its privacy terms promise, or ""."""
    terms, mechanism = strategy.privacy, parts.mechanism
    if terms is None:
        return "" if mechanism is None else f"{mechanism.caller.part}: the job has no privacy terms"
    if strategy.sections:
        return f"{terms.mechanism}: arrays beside the differences would be sent without noise"
    if mechanism is not None and mechanism.caller.name != terms.mechanism:
        return f"{mechanism.caller.part}: the job's privacy terms are those of {terms.mechanism}"
    promised = is_drawn_by_collector(terms)
    if promised != (mechanism is not None and mechanism.collector_draws_noise):
        draws = "draws no noise" if promised else "draws noise"
        return f"{terms.mechanism}: it {draws} at the collector, against the job's privacy terms"
    if mechanism is None:
        return ""
    return (
        _unmeasured_updates(terms, mechanism)
        or _weaker_mechanism(strategy, terms, mechanism)
        or _unbounded_mean(terms, mechanism, parts.aggregator)
    )


def _unmeasured_updates(terms: PrivacyTerms, mechanism: PrivacyMechanismCalls) -> str:
    """Return why an update may be longer than the noise is for, or ""."""
    if terms.clipping != "enforced" or mechanism.needs_norm:
        return ""
    return (
        f"{mechanism.caller.part}: it has no update measured, and the job's privacy terms say that"
        " the collector refuses longer ones than the noise is for"
    )


def _unbounded_mean(
    terms: PrivacyTerms, mechanism: PrivacyMechanismCalls, aggregator: AggregatorCalls
) -> str:
    """Return why one update may change the combined one by more than its noise is for, or ""."""
    bounded = mechanism.needs_combined_norm
    if is_drawn_by_collector(terms) and not bounded and aggregator.divisor != terms.cohort:
        part, divisor = aggregator.caller.part, aggregator.divisor
        return (
            f"{part}: expected the divisor {terms.cohort}, the agents wanted in a round, got"
            f" {divisor}: one update would count for more than {terms.mechanism} adds noise for"
        )
    return ""


def _weaker_mechanism(
    strategy: Strategy, terms: PrivacyTerms, mechanism: PrivacyMechanismCalls
) -> str:
    """Return why a mechanism draws other noise than ε is computed for, or ""."""
    multiplier: object = getattr(mechanism.part, "noise_multiplier", None)
    if not isinstance(multiplier, float) or terms.noise_multiplier > multiplier * _ROUNDING:
        return (
            f"{mechanism.caller.part}: its noise_multiplier is {multiplier!r}, and that of the"
            f" job's privacy terms {terms.noise_multiplier!r}"
        )
    given = strategy.update_transforms[-1].parameters
    for name, term in _STATED_TWICE.items():
        if (promised := getattr(terms, term)) != given.get(name, promised):
            return (
                f"{mechanism.caller.part}: its {name} is {given[name]!r}, and that of the job's"
                f" privacy terms {promised!r}"
            )
    return ""
