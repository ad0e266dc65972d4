"""Numbers that a part keeps: what it returns is bounded before any of it is converted."""

import pytest

from fedbus.errors import PluginError
from fedbus.plugins.part_caller import PartCaller
from fedbus.plugins.strategy_numbers import with_changes
from fedbus.wire.strategies import MAX_STATE_NUMBERS

CALLER = PartCaller("server optimizer", "x", third_party=True)


class ConvertedNumber:
    """A number that counts its conversions, each of which takes a thread."""

    def __init__(self) -> None:
        self.conversions = 0

    def __float__(self) -> float:
        """Count, and return 1."""
        self.conversions += 1
        return 1.0


def test_too_many_numbers_are_refused_before_one_is_converted() -> None:
    """Those that the state has already count, too."""
    number = ConvertedNumber()
    found = {f"n{index}": number for index in range(MAX_STATE_NUMBERS)}
    with pytest.raises(PluginError, match=r"next_numbers: 65 numbers in all; .* at most 64"):
        with_changes({"rate": 0.5}, found, CALLER, "next_numbers")
    assert number.conversions == 0


def test_a_full_state_takes_changed_numbers() -> None:
    """A name that the state has does not count twice; the mapping given is not changed."""
    number = ConvertedNumber()
    numbers = {f"n{index}": 0.0 for index in range(MAX_STATE_NUMBERS)}
    assert with_changes(numbers, {"n1": number}, CALLER, "next_numbers")["n1"] == 1.0
    assert (number.conversions, numbers["n1"]) == (1, 0.0)
