"""Trial of what changes a combined update at the collector: server optimizers, transforms."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedbus.errors import PluginError
from fedbus.plugins import Block, Combined, UpdateFacts
from fedbus.plugins.collector_part_calls import CombinedTransformCalls, ServerOptimizerCalls
from fedbus.plugins.strategy_numbers import next_numbers
from fedbus.simulation.aggregator_trial import NUMBERS, check_fits_float32, same_numbers

ROUNDS: Final = 3
AGENTS: Final = 5
POPULATION: Final = 10
_CUTS: Final = (slice(None, 70), slice(70, None))

State = Mapping[str, NDArray[np.float64]]


def try_server_optimizer(calls: ServerOptimizerCalls) -> Iterator[str]:
    """Apply three rounds; between them weights and state are stored as float32.

    Raises:
        PluginError: The optimizer failed or returned what a collector refuses, a repeated call
            gave another result, or the result depends on where a block ends.
    """
    rng, part = np.random.default_rng(0), calls.part
    weights = rng.normal(0, 1, NUMBERS)
    state: State = {name: np.zeros(NUMBERS) for name in getattr(part, "state", ())}
    numbers: Mapping[str, float] = {}
    for number in range(1, ROUNDS + 1):
        numbers = _next_numbers(calls, numbers)
        combined = replace(_combined(rng, part, number), numbers=numbers)
        new, new_state = _applied(calls, weights, combined, state)
        check_fits_float32(calls.caller, "the result of apply", new)
        for name, array in new_state.items():
            check_fits_float32(calls.caller, f"the state {name!r} after apply", array)
        if not _same(_applied(calls, weights, combined, state), (new, new_state)):
            raise calls.caller.error(
                "apply: a repeated call gave another result; arrays that it keeps from round to "
                "round belong in its `state`, since another collector may run the next round"
            )
        joined = _applied_in_parts(calls, weights, combined, state)
        if not all(map(same_numbers, (new, *new_state.values()), joined)):
            raise calls.caller.error(
                "apply: a block cut in two gave other numbers; the collector cuts a model into "
                "blocks of any length, so each number must be computed by itself"
            )
        said = [f"number {n} {value:.4g}" for n, value in numbers.items()]
        said += [f"state {n} of norm {np.linalg.norm(a):.4g}" for n, a in new_state.items()]
        moved, given = np.linalg.norm(new - weights), np.linalg.norm(combined.update)
        yield (
            f"round {number}: a combined update of norm {given:.4g} moved the weights by "
            f"{moved:.4g}; {', '.join(said) or 'no state'}"
        )
        weights = _stored(new)
        state = {name: _stored(array) for name, array in new_state.items()}


def _next_numbers(
    calls: ServerOptimizerCalls | CombinedTransformCalls, numbers: Mapping[str, float]
) -> Mapping[str, float]:
    """Return the numbers of a round, with the facts of generated updates."""
    facts = [UpdateFacts(agent=f"agent.{n}", examples=10 * n) for n in range(1, AGENTS + 1)]
    found = next_numbers(calls, numbers, facts)
    if found != next_numbers(calls, numbers, facts):
        raise calls.caller.error(
            "next_numbers: a repeated call gave another result; it must depend on the arguments "
            "alone, since another collector may repeat the round"
        )
    return found


def _combined(rng: np.random.Generator, part: object, number: int) -> Combined:
    return Combined(
        update=rng.normal(0, 0.1, NUMBERS),
        sections={name: rng.normal(0, 0.1, NUMBERS) for name in getattr(part, "sections", ())},
        agents=AGENTS,
        population=POPULATION if getattr(part, "needs_population", False) else 0,
        round=number,
    )


def _applied(
    calls: ServerOptimizerCalls, weights: Block, combined: Combined, state: State
) -> tuple[Block, State]:
    own = {name: array.copy() for name, array in state.items()}
    try:
        return calls.apply(weights, combined, own), own
    except PluginError as error:
        if combined.population:
            raise
        try:
            calls.apply(weights, replace(combined, population=POPULATION), own)
        except PluginError:
            raise error from error.__cause__
        raise PluginError(
            f"{error}; it needs the population: set needs_population = True"
        ) from error


def _applied_in_parts(
    calls: ServerOptimizerCalls, weights: Block, combined: Combined, state: State
) -> list[Block]:
    """Return the new weights and each state array, computed in two blocks."""
    halves = []
    for cut in _CUTS:
        part = {name: array[cut] for name, array in state.items()}
        new, new_state = _applied(calls, weights[cut], _cut(combined, cut), part)
        halves.append((new, *new_state.values()))
    return [np.concatenate(pair) for pair in zip(*halves, strict=True)]


def _cut(combined: Combined, cut: slice) -> Combined:
    sections = {name: block[cut] for name, block in combined.sections.items()}
    return replace(combined, update=combined.update[cut], sections=sections)


def _same(one: tuple[Block, State], other: tuple[Block, State]) -> bool:
    return np.array_equal(one[0], other[0]) and all(
        np.array_equal(array, other[1][name]) for name, array in one[1].items()
    )


def _stored(block: Block) -> Block:
    return block.astype(np.float32).astype(np.float64)


def try_transform_of_combined(calls: CombinedTransformCalls) -> Iterator[str]:
    """Transform a combined update.

    Raises:
        PluginError: The transform failed or returned what a collector refuses, or the result
            depends on where a block ends.
    """
    combined = _combined(np.random.default_rng(0), object(), 1)
    combined = replace(combined, numbers=_next_numbers(calls, {}))
    new = calls.transform(combined).update
    check_fits_float32(calls.caller, "the result of transform_combined", new)
    yield (
        f"collector: a combined update of norm {np.linalg.norm(combined.update):.4g} became "
        f"{np.linalg.norm(new):.4g}"
    )
    if not np.array_equal(new, calls.transform(combined).update):
        yield "collector: a repeated call gave another result: such a job cannot be replayed"
        return
    halves = [calls.transform(_cut(combined, cut)).update for cut in _CUTS]
    if not same_numbers(new, np.concatenate(halves)):
        raise calls.caller.error(
            "transform_combined: a block cut in two gave other numbers; the collector cuts a model "
            "into blocks of any length, so each number must be computed by itself"
        )
