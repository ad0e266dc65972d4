"""Rounds whose updates are encrypted or masked: their ranges, weights and keys. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final

from fedbus.text import in_given_order
from fedbus.wire.encryption import FixedPoint, Ranges
from fedbus.wire.strategies import Strategy, StrategyState

LEAST_MASKED_AGENTS: Final = 3
"""Agents of a masked round: the sum of two tells each of them the update of the other."""
_SHOWN_DIGITS: Final = 12


def next_ranges(fixed_point: FixedPoint, state: StrategyState | None, tensors: int) -> Ranges:
    """Return what the next round's updates are clipped to; `tensors` is the number of shared ones.

    These are the ranges that the last round found, and before it the job's first one for each.
    """
    if state is not None and state.ranges:
        return state.ranges
    return (fixed_point.first_range,) * tensors


def next_max_examples(strategy: Strategy, examples: Iterable[int]) -> int:
    """Return the number of examples that counts as a weight of 1, of a cohort's numbers.

    With a privacy mechanism, and with a mean that is not weighted, all agents count alike.
    """
    fixed_point = strategy.fixed_point
    weighted = strategy.aggregator.parameters.get("weighted", True)
    if fixed_point is None or strategy.privacy is not None or not weighted:
        return 1
    return min(max((1, *examples)), fixed_point.max_examples)


def key_reason(key: str, announced: str | None) -> str:
    """Return why an agent that announces this key cannot encrypt with the job's; "" if it can."""
    if announced == key:
        return ""
    if announced is None:
        return f"it has no encryption key, and the job's is {_shown(key)} (FEDBUS_ENCRYPTION_KEY)"
    return f"it has the encryption key {_shown(announced)}, and the job's is {_shown(key)}"


def without_collector(key: str, announced: Mapping[str, str | None]) -> str:
    """Return what a job of this key waits for if no online collector has the key."""
    has = in_given_order(
        f"{node} has {'none' if found is None else _shown(found)}"
        for node, found in sorted(announced.items())
    )
    return (
        f"waiting for a collector with the encryption key {_shown(key)}: {has}; give it the file of"
        " the public key (FEDBUS_ENCRYPTION_KEY) and start it again"
    )


def _shown(key: str) -> str:
    return f"{key[:_SHOWN_DIGITS]}…"
