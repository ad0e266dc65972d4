"""Calls of a strategy's parts at a collector, with their results checked; see `part_caller.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np

from fedbus.limits import MAX_TEXT_CHARACTERS
from fedbus.model.layout import Array
from fedbus.plugins.part_caller import PartCaller, not_finite
from fedbus.plugins.strategy_protocols import (
    Block,
    Coefficients,
    Combined,
    Combines,
    RefusesUpdates,
    ServerOptimizer,
    TransformsCombined,
    UpdateFacts,
    WeighsAll,
    WeighsOne,
)
from fedbus.text import in_given_order, listed

GramKind = Literal["model", "tensors"]


@dataclass(frozen=True, slots=True)
class AggregatorCalls:
    """An aggregator's methods, and its optional attributes.

    If it has several methods, `combine` and `weigh` go before `weight`.

    Raises:
        PluginError: It has none of the methods, or an attribute has no allowed value.
    """

    part: object
    caller: PartCaller

    def __post_init__(self) -> None:
        """Validate methods and attributes."""
        if not isinstance(self.part, WeighsOne | WeighsAll | Combines):
            methods = "weight(facts), weigh(facts, gram) or combine(blocks, weights)"
            raise self.caller.error(f"it has no method {methods}")
        if self.gram not in {None, "model", "tensors"}:
            raise self.caller.error(f"gram is {self.gram!r}; expected 'model' or 'tensors'")
        least = self.least_updates
        if not isinstance(least, int) or least < 1:
            raise self.caller.error(f"least_updates is {least!r}; expected a whole number above 0")
        divisor: object = getattr(self.part, "divisor", None)
        if divisor is None:
            return
        if type(divisor) not in {int, float} or not 0 < cast("float", divisor) < np.inf:
            raise self.caller.error(f"divisor is {divisor!r}; expected a finite number above 0")
        if not self.streams:
            raise self.caller.error("a divisor works with the method weight(facts) only")

    @property
    def weighs(self) -> bool:
        """Whether it finds the coefficients of all updates together."""
        return isinstance(self.part, WeighsAll)

    @property
    def combines(self) -> bool:
        """Whether it combines updates number by number."""
        return isinstance(self.part, Combines)

    @property
    def streams(self) -> bool:
        """Whether it weighs each update alone, so that updates need not be kept."""
        return not (self.weighs or self.combines)

    @property
    def gram(self) -> GramKind | None:
        """Which inner products `weigh` needs."""
        return cast("GramKind | None", getattr(self.part, "gram", None))

    @property
    def least_updates(self) -> int:
        """Number of updates without which it cannot work."""
        return cast("int", getattr(self.part, "least_updates", 1))

    @property
    def divisor(self) -> float | None:
        """What the weighted sum is divided by; None: by the sum of the weights."""
        return cast("float | None", getattr(self.part, "divisor", None))

    @property
    def needed_updates(self) -> int:
        """Number of updates without which a round fails; a sum with a fixed divisor needs none."""
        return self.least_updates if self.divisor is None else 0

    def refuses(self, facts: UpdateFacts) -> str:
        """Return why it cannot use an update, whatever the update contains; empty if it can."""
        part = self.part
        if not isinstance(part, RefusesUpdates):
            return ""
        reason: object = self.caller(lambda: part.refuses(facts))
        if not isinstance(reason, str):
            raise self.caller.error(f"refuses returned a {type(reason).__name__}; expected a text")
        return reason[:MAX_TEXT_CHARACTERS]

    def weight(self, facts: UpdateFacts) -> float:
        """Return an update's weight, finite and at least 0."""
        part = cast("WeighsOne", self.part)
        weight = self.caller.number(
            self.caller(lambda: part.weight(facts)), f"the weight of {facts.agent}"
        )
        if weight < 0:
            raise self.caller.error(f"the weight of {facts.agent} is {weight}; at least 0 expected")
        return weight

    def divisor_of(self, weights: Sequence[float]) -> float:
        """Return what the weighted sum of updates is divided by: `divisor`, or the sum of weights.

        Raises:
            PluginError: The weights add up to 0, or to infinity.
        """
        if self.divisor is not None:
            return self.divisor
        total = sum(weights)
        if not 0 < total < np.inf:
            raise self.caller.error(f"the weights of all updates add up to {total}")
        return total

    def shares(self, weights: Sequence[float]) -> tuple[float, ...]:
        """Return the coefficient of each update in a weighted mean; raise as `divisor_of`."""
        divisor = self.divisor_of(weights)
        return tuple(weight / divisor for weight in weights)

    def weigh(self, facts: Sequence[UpdateFacts], gram: Array | None) -> Coefficients:
        """Return the coefficients: as many as updates, finite, and not all 0."""
        part, caller = cast("WeighsAll", self.part), self.caller
        given = None if gram is None else caller.given(gram)
        found = caller(lambda: part.weigh(tuple(facts), given), "weigh (facts, gram)")
        if not issubclass(type(found), Coefficients):  # isinstance would read its `__class__`
            raise caller.error(f"weigh returned a {type(found).__name__}; expected Coefficients")
        given_updates = caller.converted(
            lambda: tuple(found.updates),
            "weigh returned Coefficients whose updates are no sequence",
        )
        if len(given_updates) != len(facts):
            raise caller.error(
                f"weigh returned {len(given_updates)} coefficients for {len(facts)} updates"
            )
        pairs = zip(facts, given_updates, strict=True)
        updates = tuple(caller.number(c, f"the coefficient of {one.agent}") for one, c in pairs)
        if not any(updates):
            raise caller.error("the coefficients of all updates are 0")
        return Coefficients(updates, caller.number(found.base, "the coefficient of the base"))

    def combine(self, blocks: Array, weights: Array) -> Block:
        """Return the combination of blocks, shape (agents, numbers), as (numbers,)."""
        part, caller = cast("Combines", self.part), self.caller
        given, weighed = caller.given(blocks), caller.given(weights)
        found = caller(lambda: part.combine(given, weighed), "combine (blocks, weights)")
        return caller.block(found, blocks.shape[1], "the result of combine")


@dataclass(frozen=True, slots=True)
class ServerOptimizerCalls:
    """A server optimizer's method `apply`."""

    part: ServerOptimizer
    caller: PartCaller

    def apply(self, base: Block, combined: Combined, state: Mapping[str, Block]) -> Block:
        """Return the new weights of a block, and change the arrays of `state` in place."""
        caller = self.caller
        own = {n: a.copy() if caller.third_party else a for n, a in state.items()}
        given, what = caller.given(base), combined_for(combined, caller)
        found = caller(lambda: self.part.apply(given, what, own), "apply (base, combined)")
        new = caller.block(found, len(base), "the result of apply")
        if added := [str(name)[:80] for name in own if name not in state]:
            names = in_given_order(map(repr, (*state, *added)))
            raise caller.error(
                f"apply added {listed(added)} to the state, which would be lost; declare it: "
                f"state = ({names},)"
            )
        for name, array in state.items():
            if name not in own:
                raise caller.error(f"apply removed {name!r} from the state; change it in place")
            if own[name] is not array:  # a copy, or an array that the part has put there
                array[:] = caller.block(own[name], len(array), f"the state {name!r} after apply")
            elif wrong := not_finite(array):
                raise caller.error(f"the state {name!r} after apply has {wrong}")
        return new


@dataclass(frozen=True, slots=True)
class CombinedTransformCalls:
    """An update transform's half at the collector."""

    part: TransformsCombined
    caller: PartCaller

    def transform(self, combined: Combined) -> Combined:
        """Return the combined update with a new `update`."""
        what = combined_for(combined, self.caller)
        found = self.caller(
            lambda: self.part.transform_combined(what), "transform_combined (combined)"
        )
        numbers = len(combined.update)
        return replace(
            combined, update=self.caller.block(found, numbers, "the result of transform_combined")
        )


def combined_for(combined: Combined, caller: PartCaller) -> Combined:
    """Return what a part gets for a combined update: read-only, copies for third parties."""
    sections = {name: caller.given(block) for name, block in combined.sections.items()}
    update, numbers = caller.given(combined.update), dict(combined.numbers)
    return replace(combined, update=update, sections=sections, numbers=numbers)
