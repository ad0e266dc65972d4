"""Calls of strategy parts: whatever a part does, the error names it, and nothing else changes."""

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedbus.errors import PluginError
from fedbus.plugins import Coefficients, Combined, UpdateFacts
from fedbus.plugins.collector_part_calls import (
    AggregatorCalls,
    CombinedTransformCalls,
    ServerOptimizerCalls,
)
from fedbus.plugins.part_caller import PartCaller

FACTS = (UpdateFacts(agent="agent.a", examples=3), UpdateFacts(agent="agent.b", examples=1))
BLOCKS = np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]])
WEIGHTS = np.array([3.0, 1.0])


def part_with(**members: object) -> object:
    """Make an object with these methods and attributes."""
    wrapped = {
        name: staticmethod(member) if callable(member) else member
        for name, member in members.items()
    }
    return type("Part", (), wrapped)()


def caller(third_party: bool = False) -> PartCaller:
    """Call a part named x."""
    return PartCaller("aggregator", "x", third_party, seconds=0.2)


def raises(*_: object) -> None:
    """Fail as a part may."""
    raise ValueError("no")


def leaves(*_: object) -> None:
    """Exit as a part may."""
    sys.exit(3)


def hangs(*_: object) -> None:
    """Take longer than a part may."""
    time.sleep(1.0)


@pytest.mark.parametrize(
    ("third_party", "method", "sentence"),
    [
        (False, raises, "no"),
        (True, raises, "no"),
        (True, leaves, "it called sys.exit: 3"),
        (True, hangs, "it did not answer in 0.2 s"),
    ],
)
@pytest.mark.parametrize("name", ["weight", "weigh", "combine"])
def test_a_part_that_fails_is_named(
    third_party: bool, method: Callable[..., None], sentence: str, name: str
) -> None:
    """Every method of every part is called in one place."""
    calls = AggregatorCalls(part_with(**{name: method}), caller(third_party))
    call: dict[str, Callable[[], object]] = {
        "weight": lambda: calls.weight(FACTS[0]),
        "weigh": lambda: calls.weigh(FACTS, None),
        "combine": lambda: calls.combine(BLOCKS, WEIGHTS),
    }
    with pytest.raises(PluginError) as failed:
        call[name]()
    assert str(failed.value) == f"aggregator 'x': {sentence}"


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (np.zeros(2), r"the result of combine has shape \(2,\); expected \(3,\)"),
        (np.zeros((2, 3)), r"the result of combine has shape \(2, 3\); expected \(3,\)"),
        (np.array([1.0, np.nan, np.inf]), "the result of combine has nan at position 1"),
        (np.array([1.0, 2.0, -np.inf]), "the result of combine has -inf at position 2"),
        (["a", "b", "c"], "the result of combine has dtype str"),
        (np.ones(3, complex), "the result of combine has dtype complex128; expected floating"),
        (np.ones(3, bool), "the result of combine has dtype bool; expected floating-point or"),
        ([1.0, [2.0], 3.0], "the result of combine is no array of numbers"),
        (None, "combine returned None; it must return an array$"),
    ],
)
def test_a_combination_is_checked(found: object, sentence: str) -> None:
    """Its shape, and that its numbers are finite."""
    calls = AggregatorCalls(part_with(combine=lambda *_: found), caller())
    with pytest.raises(PluginError, match=f"^aggregator 'x': {sentence}"):
        calls.combine(BLOCKS, WEIGHTS)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ([0.5, 0.5], "weigh returned a list; expected Coefficients"),
        (Coefficients([1.0]), "weigh returned 1 coefficients for 2 updates"),
        (Coefficients(None), "weigh returned Coefficients whose updates are no sequence: 'None"),  # type: ignore[arg-type]  # a part's mistake
        (Coefficients([1.0, 10**400]), "the coefficient of agent.b is no number: int too large"),
        (Coefficients([1.0, 0.0], 10**400), "the coefficient of the base is no number: int too"),
        (Coefficients([1.0, "one"]), "the coefficient of agent.b is no number"),  # type: ignore[list-item]  # a part's mistake
    ],
)
def test_coefficients_are_checked(found: object, sentence: str) -> None:
    """Their kind and their number."""
    calls = AggregatorCalls(part_with(weigh=lambda *_: found), caller())
    with pytest.raises(PluginError, match=f"^aggregator 'x': {sentence}"):
        calls.weigh(FACTS, None)


class Exits:
    """A result whose conversion exits."""

    def __float__(self) -> float:
        sys.exit(4)

    def __array__(self, *_: object, **__: object) -> NDArray[Any]:
        sys.exit(4)

    def __iter__(self) -> Iterator[float]:
        sys.exit(4)


class Hangs:
    """A result whose conversion does not end in time."""

    def __float__(self) -> float:
        time.sleep(0.5)
        return 1.0

    def __array__(self, *_: object, **__: object) -> NDArray[Any]:
        time.sleep(0.5)
        return np.zeros(3)

    def __iter__(self) -> Iterator[float]:
        time.sleep(0.5)
        return iter((0.5, 0.5))


@pytest.mark.parametrize(
    ("result", "reason"),
    [(Exits(), "it called sys.exit: 4"), (Hangs(), "it did not answer in 0.2 s")],
)
def test_a_result_is_converted_as_the_part_is_called(result: Any, reason: str) -> None:  # noqa: ANN401 - a part's mistake
    """Its methods are the part's code: they would end or block the collector."""

    def replaces_state(base: Any, _combined: Combined, state: Any) -> Any:  # noqa: ANN401 - arrays
        state["m"] = result
        return base

    def aggregator(**members: object) -> AggregatorCalls:
        return AggregatorCalls(part_with(**members), caller(third_party=True))

    part: Any = part_with(apply=replaces_state, transform_combined=lambda _: result)
    optimizer = ServerOptimizerCalls(part, caller(third_party=True))
    transform = CombinedTransformCalls(part, caller(third_party=True))
    combined, state = Combined(update=np.zeros(3), agents=1), {"m": np.zeros(3)}
    one, all_ = Coefficients([1.0, result]), Coefficients(result)
    calls: tuple[Callable[[], object], ...] = (
        lambda: aggregator(weight=lambda _: result).weight(FACTS[0]),
        lambda: aggregator(weigh=lambda *_: one).weigh(FACTS, None),
        lambda: aggregator(weigh=lambda *_: all_).weigh(FACTS, None),
        lambda: aggregator(combine=lambda *_: result).combine(BLOCKS, WEIGHTS),
        lambda: optimizer.apply(np.zeros(3), combined, state),
        lambda: transform.transform(combined),
    )
    for call in calls:
        with pytest.raises(PluginError, match=rf"^aggregator 'x': .*: {reason}$"):
            call()


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({}, "it has no method weight"),
        ({"weigh": raises, "gram": "layers"}, "gram is 'layers'; expected 'model' or 'tensors'"),
        ({"weigh": raises, "least_updates": 0}, "least_updates is 0; expected a whole number"),
        ({"weigh": raises, "least_updates": "3"}, "least_updates is '3'; expected a whole number"),
    ],
)
def test_an_aggregator_is_checked_before_its_round(
    members: dict[str, object], sentence: str
) -> None:
    """A round that it would fail at its end need not be trained."""
    with pytest.raises(PluginError, match=f"^aggregator 'x': {sentence}"):
        AggregatorCalls(part_with(**members), caller())


def test_an_aggregator_says_what_it_needs() -> None:
    """The method that needs more goes first."""
    both = AggregatorCalls(part_with(weight=raises, combine=raises, least_updates=7), caller())
    assert (both.streams, both.combines, both.weighs) == (False, True, False)
    assert (both.gram, both.least_updates) == (None, 7)
    assert AggregatorCalls(part_with(weight=raises), caller()).streams


@pytest.mark.parametrize("third_party", [False, True])
def test_a_part_cannot_change_what_it_is_given(third_party: bool) -> None:
    """The next rule reads the same blocks."""

    def changes(blocks: NDArray[Any], _weights: NDArray[Any]) -> NDArray[Any]:
        blocks[:] = 0.0
        return blocks

    calls = AggregatorCalls(part_with(combine=changes), caller(third_party))
    blocks = BLOCKS.copy()
    sentence = r"read-only.*; combine must not change its arguments \(blocks, weights\)$"
    with pytest.raises(PluginError, match=sentence):
        calls.combine(blocks, WEIGHTS)
    np.testing.assert_array_equal(blocks, BLOCKS)


@pytest.mark.parametrize("third_party", [False, True])
@pytest.mark.parametrize("section", [False, True])
def test_a_combined_update_is_read_only(third_party: bool, section: bool) -> None:
    """An optimizer or a transform that changes it in place would pass its trial only by chance."""

    def changes(combined: Combined) -> NDArray[Any]:
        array = combined.sections["c"] if section else combined.update
        array *= 2
        return array

    part = part_with(
        apply=lambda _base, combined, _state: changes(combined), transform_combined=changes
    )
    combined = Combined(update=np.ones(3), sections={"c": np.ones(3)}, agents=2)
    optimizer = ServerOptimizerCalls(part, caller(third_party))  # type: ignore[arg-type]  # made by type()
    with pytest.raises(
        PluginError, match=r"read-only.*; apply must not change .* \(base, combined\)$"
    ):
        optimizer.apply(np.zeros(3), combined, {})
    transform = CombinedTransformCalls(part, caller(third_party))  # type: ignore[arg-type]  # made by type()
    with pytest.raises(
        PluginError, match=r"read-only.*; transform_combined must not change .* \(combined\)$"
    ):
        transform.transform(combined)
    np.testing.assert_array_equal((combined.update, combined.sections["c"]), 1.0)


def late_writer(seen: list[NDArray[Any]]) -> object:
    """Make an optimizer that keeps the arrays that it was given, and hangs."""

    def apply(_base: Any, _combined: Any, state: Any) -> None:  # noqa: ANN401 - arrays
        seen.append(state["m"])
        time.sleep(0.5)

    return part_with(apply=apply)


def test_a_part_that_hangs_has_copies_only() -> None:
    """Its thread cannot be killed, and may write after the round has failed."""
    seen: list[NDArray[Any]] = []
    state = np.zeros(3)
    calls = ServerOptimizerCalls(late_writer(seen), caller(third_party=True))  # type: ignore[arg-type]  # made by type()
    with pytest.raises(PluginError, match="did not answer"):
        calls.apply(np.zeros(3), Combined(update=np.ones(3), agents=1), {"m": state})
    seen[0][:] = 7.0
    assert not state.any()


@pytest.mark.parametrize("third_party", [False, True])
@pytest.mark.parametrize("replaces", [False, True])
def test_state_is_changed_in_place_or_replaced(third_party: bool, replaces: bool) -> None:
    """A part that assigns a new array means the same."""

    def apply(base: Any, combined: Combined, state: Any) -> Any:  # noqa: ANN401 - arrays
        if replaces:
            state["m"] = state["m"] + combined.update
        else:
            state["m"] += combined.update
        return base - state["m"]

    calls = ServerOptimizerCalls(part_with(apply=apply), caller(third_party))  # type: ignore[arg-type]  # made by type()
    state = np.ones(3)
    combined = Combined(update=np.full(3, 2.0), agents=1)
    new = calls.apply(np.zeros(3), combined, {"m": state})
    np.testing.assert_array_equal(state, 3.0)
    np.testing.assert_array_equal(new, -3.0)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros(2), r"the state 'm' after apply has shape \(2,\); expected \(3,\)"),
        (np.full(3, np.nan), "the state 'm' after apply has nan"),
        (None, "the state 'm' after apply is None; it must be an array"),
    ],
)
def test_a_state_that_is_replaced_is_checked(array: NDArray[Any] | None, sentence: str) -> None:
    """As a result is."""

    def apply(base: Any, _combined: Combined, state: Any) -> Any:  # noqa: ANN401 - arrays
        state["m"] = array
        return base

    calls = ServerOptimizerCalls(part_with(apply=apply), caller())  # type: ignore[arg-type]  # made by type()
    with pytest.raises(PluginError, match=sentence):
        calls.apply(np.zeros(3), Combined(update=np.zeros(3), agents=1), {"m": np.zeros(3)})


def test_whole_numbers_are_combined_as_floats() -> None:
    """As those of a vote are."""
    calls = AggregatorCalls(part_with(combine=lambda *_: np.array([1, -1, 1])), caller())
    found = calls.combine(BLOCKS, WEIGHTS)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [1.0, -1.0, 1.0])


@pytest.mark.parametrize("third_party", [False, True])
def test_an_array_that_no_state_declares_is_refused(third_party: bool) -> None:
    """It is not stored with the version, so the next round would not find it."""

    def adds(base: Any, _combined: Combined, state: Any) -> Any:  # noqa: ANN401 - arrays
        state["v"] = base
        return base

    def removes(base: Any, _combined: Combined, state: Any) -> Any:  # noqa: ANN401 - arrays
        del state["m"]
        return base

    def apply(method: Callable[..., Any]) -> None:
        calls = ServerOptimizerCalls(part_with(apply=method), caller(third_party))  # type: ignore[arg-type]  # made by type()
        calls.apply(np.zeros(3), Combined(update=np.zeros(3), agents=1), {"m": np.zeros(3)})

    with pytest.raises(PluginError, match=r"added v to the state.* state = \('m', 'v',\)$"):
        apply(adds)
    with pytest.raises(PluginError, match="apply removed 'm' from the state"):
        apply(removes)


@pytest.mark.parametrize("third_party", [False, True])
def test_a_transform_returns_a_new_combined_update(third_party: bool) -> None:
    """Facts and sections stay; a third-party transform gets copies of both arrays."""
    given: list[Combined] = []

    def doubles(combined: Combined) -> NDArray[Any]:
        given.append(combined)
        return combined.update * 2

    calls = CombinedTransformCalls(part_with(transform_combined=doubles), caller(third_party))  # type: ignore[arg-type]  # made by type()
    before = Combined(update=np.ones(3), sections={"c": np.zeros(3)}, agents=4, round=2)
    after = calls.transform(before)
    np.testing.assert_array_equal(after.update, 2.0)
    assert (after.agents, after.round, after.sections) == (4, 2, before.sections)
    shared = np.shares_memory(given[0].update, before.update)
    assert shared != third_party
    assert np.shares_memory(given[0].sections["c"], before.sections["c"]) != third_party


# ── divisor ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("members", "weights", "shares"),
    [
        ({}, [1.0, 3.0], (0.25, 0.75)),
        ({"divisor": 8}, [1.0, 3.0], (0.125, 0.375)),
        ({"divisor": 8.0}, [], ()),
        ({"divisor": None}, [2.0], (1.0,)),
    ],
)
def test_shares_are_of_the_sum_of_weights_or_of_the_divisor(
    members: dict[str, object], weights: list[float], shares: tuple[float, ...]
) -> None:
    """With a divisor the result does not tell how many updates there were."""
    calls = AggregatorCalls(part_with(weight=lambda _: 1.0, **members), caller())
    assert calls.shares(weights) == shares
    assert calls.needed_updates == (1 if members.get("divisor") is None else 0)


@pytest.mark.parametrize("divisor", [0, -1.0, float("inf"), float("nan"), True, "4"])
def test_a_divisor_that_is_no_number_above_0_is_refused(divisor: object) -> None:
    """Before any update is received."""
    with pytest.raises(PluginError, match=r"divisor is .*; expected a finite number above 0"):
        AggregatorCalls(part_with(weight=lambda _: 1.0, divisor=divisor), caller())


def test_a_divisor_works_with_a_weight_only() -> None:
    """A median has no sum to divide."""
    with pytest.raises(PluginError, match=r"a divisor works with the method weight\(facts\) only"):
        AggregatorCalls(part_with(combine=lambda *_: BLOCKS[0], divisor=4), caller())
