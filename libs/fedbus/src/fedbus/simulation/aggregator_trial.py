"""Trial of an aggregator: generated updates, combined as a collector combines them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedbus.errors import PluginError
from fedbus.model.layout import Array
from fedbus.plugins import Block, UpdateFacts
from fedbus.plugins.collector_part_calls import AggregatorCalls, GramKind
from fedbus.plugins.part_caller import PartCaller
from fedbus.text import counted

NUMBERS: Final = 240
UPDATES: Final = 7
_TENSOR_ENDS: Final = (100, 150)
_CUT: Final = 70
_OUTLIER: Final = 1000.0
_ROUNDING: Final = 1e-9
"""Relative; a sum in another order differs by about 1e-15."""
_DECIMALS: Final = 9


@dataclass(frozen=True, slots=True)
class GeneratedRound:
    """Updates of a round.

    Attributes:
        what: What is special about them.
        base: Shape (numbers,).
        updates: Shape (agents, numbers).
    """

    what: str
    base: Block
    updates: NDArray[np.float64]

    @property
    def facts(self) -> tuple[UpdateFacts, ...]:
        """All facts about each update; numbers of examples differ."""
        return tuple(
            UpdateFacts(agent=f"agent.{n}", examples=10 * n, steps=4 + n, base_loss=0.5 + n / 10)
            for n in range(1, len(self.updates) + 1)
        )

    @property
    def mean(self) -> Block:
        """The mean of the updates, weighted by examples."""
        examples = np.array([each.examples for each in self.facts])
        mean: Block = examples @ self.updates / examples.sum()
        return mean

    @property
    def median(self) -> Block:
        """The coordinate-wise median of the updates."""
        median: Block = np.median(self.updates, axis=0)
        return median


def try_aggregator(calls: AggregatorCalls) -> Iterator[str]:
    """Combine generated updates; yield a sentence for each round of them.

    Raises:
        PluginError: The aggregator failed or returned what a collector refuses, a repeated call
            gave another result, or the result depends on where a block ends.
    """
    for each in generated_rounds(calls.least_updates):
        for facts in each.facts:
            calls.refuses(facts)
        found = _combined_with_hint(calls, each)
        check_fits_float32(calls.caller, f"{each.what}: the combined update", found)
        if not np.array_equal(found, combined_update(calls, each)):
            raise calls.caller.error(
                f"{each.what}: a repeated call gave another result; it must depend on the "
                "arguments alone, since a collector that was restarted repeats a round"
            )
        yield f"{each.what}: {_described(found, each)}"


def generated_rounds(least_updates: int) -> Iterator[GeneratedRound]:
    """Yield rounds of the fewest updates, of more, and of unusual ones."""
    rng = np.random.default_rng(0)
    base, common = rng.normal(0, 1, NUMBERS), rng.normal(0, 1, NUMBERS)
    most = max(UPDATES, least_updates)
    updates = common + rng.normal(0, 0.3, (most, NUMBERS))
    for count in sorted({least_updates, most}):
        yield GeneratedRound(counted(count, "update"), base, updates[:count])
    yield GeneratedRound(f"{most} equal updates", base, np.tile(common, (most, 1)))
    yield GeneratedRound(f"{most} updates of zeros", base, np.zeros((most, NUMBERS)))
    spoiled = updates.copy()
    spoiled[-1] *= -_OUTLIER
    yield GeneratedRound(f"{most} updates, one of them -{_OUTLIER:g}-fold", base, spoiled)


def combined_update(
    calls: AggregatorCalls, each: GeneratedRound, *, all_facts: bool = False
) -> Block:
    """Return what an aggregator adds to the base, as a collector computes it.

    Args:
        all_facts: Whether the aggregator gets facts and inner products that it does not ask for.
    """
    asked = getattr(calls.part, "facts", ())
    facts = [
        replace(
            one,
            steps=one.steps if all_facts or "steps" in asked else None,
            base_loss=one.base_loss if all_facts or "base_loss" in asked else None,
        )
        for one in each.facts
    ]
    if calls.streams:
        weights = np.array([calls.weight(one) for one in facts])
        if not weights.sum():
            raise calls.caller.error("the weights of all updates are 0")
        return np.asarray(weights @ each.updates / weights.sum())
    updates, weights, base = each.updates, np.array([float(one.examples) for one in facts]), 1.0
    if calls.weighs:
        kind = calls.gram or ("model" if all_facts else None)
        found = calls.weigh(facts, inner_products(each, kind))
        coefficients = np.array(found.updates)
        used = coefficients != 0
        updates, weights, base = updates[used], coefficients[used], found.base
    moved = _combined(calls, updates, weights) if calls.combines else weights @ updates
    return np.asarray(moved + (base - 1) * each.base)


def inner_products(each: GeneratedRound, kind: GramKind | None) -> Array | None:
    """Return the Gram matrix of base and updates, of the model or of each of three tensors."""
    rows = np.vstack([each.base, each.updates])
    match kind:
        case None:
            return None
        case "model":
            return np.asarray(rows @ rows.T)
        case "tensors":
            tensors = np.split(rows, _TENSOR_ENDS, axis=1)
            return np.asarray([part @ part.T for part in tensors])


def _combined(
    calls: AggregatorCalls, updates: NDArray[np.float64], weights: NDArray[np.float64]
) -> Block:
    whole = calls.combine(updates, weights)
    halves = [calls.combine(part, weights) for part in np.split(updates, [_CUT], axis=1)]
    if not same_numbers(whole, np.concatenate(halves)):
        raise calls.caller.error(
            "combine: a block cut in two gave other numbers; the collector cuts a model into "
            "blocks of any length, so each column must be combined by itself (a norm or a distance "
            "of whole updates needs weigh and gram)"
        )
    return whole


def _combined_with_hint(calls: AggregatorCalls, each: GeneratedRound) -> Block:
    try:
        return combined_update(calls, each)
    except PluginError as error:
        try:
            combined_update(calls, each, all_facts=True)
        except PluginError:
            raise PluginError(f"{error} ({each.what})") from error
        raise PluginError(
            f"{error}; it uses what it does not ask for: set facts = ('steps', 'base_loss'), or "
            "one of them, and gram = 'model' or 'tensors'"
        ) from error


def check_fits_float32(caller: PartCaller, what: str, block: Block) -> None:
    """Raise PluginError if a model of float32 cannot hold these numbers."""
    largest = int(np.abs(block).argmax())
    if abs(block[largest]) > np.finfo(np.float32).max:
        raise caller.error(
            f"{what} has {block[largest]:g} at position {largest}: it overflows float32, and the "
            "round would fail"
        )


def same_numbers(one: Block, other: Block) -> bool:
    """Return whether two blocks are equal but for rounding."""
    return bool(np.allclose(one, other, rtol=_ROUNDING, atol=_ROUNDING * (1 + np.abs(one).max())))


def _described(found: Block, each: GeneratedRound) -> str:
    return (
        f"norm {_norm(found)}, distance to the mean {_norm(found - each.mean)}, to the median "
        f"{_norm(found - each.median)}"
    )


def _norm(block: Block) -> str:
    return f"{round(float(np.linalg.norm(block)), _DECIMALS):.4g}"
