"""Calls of a mechanism's half at the collector: results are checked, errors name the part."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from fedbus.errors import PluginError
from fedbus.limits import MAX_TEXT_CHARACTERS
from fedbus.plugins import Block, Combined, RoundNoise, UpdateFacts
from fedbus.plugins.part_caller import PartCaller
from fedbus.plugins.privacy_mechanism_calls import PrivacyMechanismCalls

FACTS = UpdateFacts(agent="agent.a", examples=1, norm=2.0)
COMBINED = Combined(update=np.array([1.0, 2.0]), agents=1)
CALLER = PartCaller("update transform", "dp")


class Mechanism:
    """A mechanism whose methods return what a test wants."""

    def __init__(self, result: object = None, **attributes: object) -> None:
        self._result = result
        self.__dict__.update(attributes)

    def refuses_update(self, facts: UpdateFacts, numbers: Mapping[str, float]) -> Any:  # noqa: ANN401 - may be wrong
        """Return the result, or raise it."""
        del facts, numbers
        return self._returned()

    def next_private_numbers(
        self, numbers: Mapping[str, float], facts: Sequence[UpdateFacts], noise: RoundNoise | None
    ) -> Any:  # noqa: ANN401 - may be wrong
        """Return the result, or raise it."""
        del numbers, facts, noise
        return self._returned()

    def add_noise(self, combined: Combined, noise: RoundNoise | None) -> Any:  # noqa: ANN401 - may be wrong
        """Return the result, or raise it; "write" changes what it is given."""
        del noise
        if isinstance(self._result, str):
            combined.update[0] = 0.0
        return self._returned()

    def _returned(self) -> object:
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


def calls(result: object = None, **attributes: object) -> PrivacyMechanismCalls:
    """Call a mechanism named dp."""
    return PrivacyMechanismCalls(Mechanism(result, **attributes), CALLER)


NAMES = ("needs_norm", "needs_combined_norm", "needs_distance", "collector_draws_noise")


@pytest.mark.parametrize("name", NAMES)
def test_an_attribute_is_false_if_it_is_left_out(name: str) -> None:
    """And what the part says otherwise; anything but True and False is an error."""
    assert getattr(calls(), name) is False
    assert getattr(calls(**{name: True}), name) is True
    with pytest.raises(PluginError, match=rf"'dp': {name} is 1; expected True or False"):
        calls(**{name: 1})


def test_results_of_the_right_kind_are_returned() -> None:
    """A refusal is cut to what a message allows."""
    assert calls("too long").refuses_update(FACTS, {}) == "too long"
    assert len(calls("x" * 10_000).refuses_update(FACTS, {})) == MAX_TEXT_CHARACTERS
    assert calls({"b": 2}).next_numbers({"a": 1.0}, (FACTS,), None) == {"a": 1.0, "b": 2.0}
    found: Block = calls(np.array([3, 4])).add_noise(COMBINED, None).update
    assert found.dtype.name == "float64"
    assert found.tolist() == [3.0, 4.0]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: calls(None).refuses_update(FACTS, {}), "refuses_update returned a NoneType"),
        (lambda: calls(ValueError("no")).refuses_update(FACTS, {}), "no"),
        (lambda: calls([]).next_numbers({}, (), None), "next_private_numbers returned a list"),
        (
            lambda: calls({"a": float("nan")}).next_numbers({}, (), None),
            "next_private_numbers: a is nan; expected a finite number",
        ),
        (lambda: calls({"a": "x"}).next_numbers({}, (), None), "next_private_numbers: a is no "),
        (
            lambda: calls({" ": 1}).next_numbers({}, (), None),
            "next_private_numbers: ' ' is no name",
        ),
        (lambda: calls(ValueError("no")).next_numbers({}, (), None), "no"),
        (lambda: calls(None).add_noise(COMBINED, None), "add_noise returned None"),
        (lambda: calls(np.zeros(3)).add_noise(COMBINED, None), "the result of add_noise has shape"),
        (
            lambda: calls(np.array([1.0, np.inf])).add_noise(COMBINED, None),
            "the result of add_noise has inf at position 1",
        ),
        (
            lambda: calls("write").add_noise(COMBINED, None),
            "assignment destination is read-only; add_noise must not change its arguments",
        ),
    ],
)
def test_a_wrong_result_names_the_mechanism_and_the_method(
    call: Callable[[], object], sentence: str
) -> None:
    """As every other part of a strategy is named."""
    with pytest.raises(PluginError) as failed:
        call()
    assert str(failed.value).startswith(f"update transform 'dp': {sentence}")
