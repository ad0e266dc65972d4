"""Numbers that parts of a strategy keep from round to round: the call that changes them. Pure."""

from collections.abc import Mapping, Sequence

from fedbus.plugins.agent_part_checks import is_part_name
from fedbus.plugins.collector_part_calls import CombinedTransformCalls, ServerOptimizerCalls
from fedbus.plugins.part_caller import PartCaller
from fedbus.plugins.strategy_protocols import KeepsNumbers, UpdateFacts
from fedbus.wire.strategies import MAX_STATE_NUMBERS


def next_numbers(
    calls: ServerOptimizerCalls | CombinedTransformCalls,
    numbers: Mapping[str, float],
    facts: Sequence[UpdateFacts],
) -> dict[str, float]:
    """Return the numbers of a strategy with those that a part changes or adds, if it keeps any.

    Raises:
        PluginError: The part failed, or returned no names with finite numbers, or there are more
            than MAX_STATE_NUMBERS.
    """
    part, caller = calls.part, calls.caller
    if not isinstance(part, KeepsNumbers):
        return dict(numbers)
    found: object = caller(lambda: part.next_numbers(dict(numbers), tuple(facts)))
    return with_changes(numbers, found, caller, "next_numbers")


def with_changes(
    numbers: Mapping[str, float], found: object, caller: PartCaller, method: str
) -> dict[str, float]:
    """Return the numbers with those that a part's method has returned; raise as `next_numbers`."""
    if not isinstance(found, Mapping):
        kind = type(found).__name__
        raise caller.error(f"{method} returned a {kind}; expected numbers by name")
    # First, because converting a number of a third party may start a thread.
    if (count := len({*numbers, *found})) > MAX_STATE_NUMBERS:
        raise caller.error(
            f"{method}: {count} numbers in all; a state has at most {MAX_STATE_NUMBERS}"
        )
    changed = dict(numbers)
    for name, value in found.items():
        if not is_part_name(name):
            raise caller.error(f"{method}: {str(name)[:80]!r} is no name of a number")
        changed[name] = caller.number(value, f"{method}: {name}")
    return changed
