"""Parameters of factories: which there are, and what a job may write for them."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.strategies.factory_parameters import parameters_of
from fedbus.training.params import Argument


class Example:
    """A part with a parameter of each kind."""

    def __init__(  # type: ignore[no-untyped-def]
        self,
        first: int,
        *,
        flag: bool = True,
        whole: int = 3,
        number: float = 0.5,
        text: str = "a",
        numbers: tuple[float, ...] = (),
        pair: tuple[int, float] = (1, 2.0),
        sequence: Sequence[int] = (),
        plain: tuple = (),  # type: ignore[type-arg]
        maybe: float | None = None,
        old: Optional[int] = None,  # noqa: UP045 - what third-party code has
        either: int | str = 1,
        limited: Annotated[float, "above 0"] = 1.0,
        mode: Literal["l1", "l2", 3] = "l2",
        anything: Any = None,  # noqa: ANN401 - as in a plug-in
        bare=2,  # noqa: ANN001 - a part of a plug-in without annotations
    ) -> None:
        pass


EXAMPLE = parameters_of(Example)


@pytest.mark.parametrize(
    ("name", "written", "read"),
    [
        ("first", 3, 3),
        ("first", 3.0, 3),
        ("first", "64", 64),
        ("flag", True, True),
        ("flag", "True", True),
        ("flag", "off", False),
        ("flag", 0, False),
        ("number", 1, 1.0),
        ("number", "0.005", 0.005),
        ("text", "1", "1"),
        ("numbers", (1, 2.5), (1.0, 2.5)),
        ("pair", (1, 2), (1, 2.0)),
        ("sequence", (1, 2.0), (1, 2)),
        ("plain", (1, 2.5), (1, 2.5)),
        ("maybe", "0.1", 0.1),
        ("old", "7", 7),
        ("either", "7", "7"),
        ("either", 7.0, 7),
        ("limited", "2", 2.0),
        ("mode", "l1", "l1"),
        ("mode", 3, 3),
        ("anything", (1,), (1,)),
        ("bare", "3", 3),
    ],
)
def test_a_value_becomes_what_its_annotation_says(
    name: str, written: Argument, read: Argument
) -> None:
    """Numbers and flags may be text, as elsewhere in a job file."""
    found = EXAMPLE.named[name].read(written)
    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(
    ("name", "written", "sentence"),
    [
        ("first", 1.5, "expected a whole number, got 1.5"),
        ("first", True, "expected a whole number, got true"),
        ("first", "many", "expected a whole number, got 'many'"),
        ("first", "9007199254740992", "expected a whole number, got '9007199254740992'"),
        ("flag", 2, "expected true or false, got 2"),
        ("flag", 1.0, "expected true or false, got 1.0"),
        ("flag", (1,), "expected true or false, got a list"),
        ("number", "nan", "expected a number, got 'nan'"),
        ("number", False, "expected a number, got false"),
        ("number", (1.0,), "expected a number, got a list"),
        ("text", 1, "expected text, got 1"),
        ("numbers", 1.0, "expected a list of numbers, got 1.0"),
        ("sequence", (1.5,), "expected a list of whole numbers, got a list"),
        ("pair", (1, 2, 3), "expected a list of 2 whole numbers, got a list"),
        ("plain", "x", "expected a list of values, got 'x'"),
        ("maybe", "x", "expected a number, got 'x'"),
        ("either", (1,), "expected a whole number or text, got a list"),
        ("bare", "x", "expected a whole number, got 'x'"),
        ("mode", "l3", "expected one of 'l1', 'l2', 3, got 'l3'"),
    ],
)
def test_another_kind_of_value_is_refused(name: str, written: Argument, sentence: str) -> None:
    """The sentence says what is expected, in the words of the job file's other faults."""
    with pytest.raises(ValueError, match="expected") as refused:
        EXAMPLE.named[name].read(written)
    assert str(refused.value) == sentence


def test_what_a_factory_states_is_known() -> None:
    """Defaults of None are no values, and names that it does not state may be allowed."""
    assert EXAMPLE.named["first"].required
    assert not EXAMPLE.named["flag"].required
    assert EXAMPLE.takes("whole")
    assert not EXAMPLE.takes("other")
    assert EXAMPLE.defaults["mode"] == "l2"
    assert not EXAMPLE.defaults.keys() & {"first", "maybe"}
    assert EXAMPLE.named["anything"].expected == "any value"
    assert EXAMPLE.named["maybe"].expected == "a number"

    def nothing(only: None = None, **_: object) -> None: ...

    assert parameters_of(nothing).takes("other")
    assert parameters_of(nothing).named["only"].expected == "no value"
    assert parameters_of(type).any_name  # written in C, without a signature


def test_annotations_that_cannot_be_resolved_take_any_value() -> None:
    """They may be of a package that only the type check imports."""

    def factory(rate: "Missing" = 0.1) -> None:  # type: ignore[name-defined]  # noqa: F821
        pass

    assert parameters_of(factory).named["rate"].read("x") == "x"


@given(
    st.sampled_from(sorted(EXAMPLE.named)),
    st.one_of(
        st.booleans(),
        st.integers(-(2**53) + 1, 2**53 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=64),
        st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=4).map(tuple),
    ),
)
def test_any_value_is_read_once_and_for_all_or_refused(name: str, value: Any) -> None:  # noqa: ANN401
    """A value that was read is read as itself, and is a finite number if it is a number."""
    parameter = EXAMPLE.named[name]
    try:
        read = parameter.read(value)
    except ValueError:
        return
    assert parameter.read(read) == read
    assert not isinstance(read, float) or math.isfinite(read)
