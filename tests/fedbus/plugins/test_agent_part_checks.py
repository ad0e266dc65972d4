"""Results of a strategy's parts at an agent: one check for agents and the trial."""

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
import pytest

from fedbus.errors import PluginError
from fedbus.plugins import LocalEnd
from fedbus.plugins.agent_part_checks import (
    checked_local_end,
    checked_terms,
    checked_update,
    is_part_name,
)
from fedbus.training.local_terms import LocalTerms

BASE = {"a": np.zeros((2, 3), np.float32), "b": np.zeros(3, np.float32)}
ONES = {"a": np.ones((2, 3), np.float32), "b": np.ones(3, np.float32)}
WIDE = {"a": np.ones((3, 2), np.float32)}
NAN = {"a": np.full((2, 3), np.nan, np.float32), "b": np.ones(3, np.float32)}


def test_correct_results_pass() -> None:
    """Unchanged."""
    terms = LocalTerms(proximal=0.1, linear={"b": ONES["b"]})
    assert checked_terms(terms, BASE) == terms
    end = LocalEnd(own=ONES, sections={"control": MappingProxyType(ONES)})
    assert checked_local_end(end, BASE, ["control"]) == end
    assert checked_local_end(LocalEnd(), BASE, []) == LocalEnd()
    assert checked_update(ONES, BASE) == ONES


def test_arrays_get_the_dtype_in_which_they_are_used() -> None:
    """Terms that of their tensor, own arrays and sections float32; what overflows is refused."""
    base = {"a": np.zeros(2, np.float16)}
    large = {"a": np.full(2, 1e5, np.float64)}
    terms = checked_terms(LocalTerms(proximal=1, linear={"a": np.full(2, 0.5)}), base)
    assert terms.linear["a"].dtype == np.float16
    assert type(terms.proximal) is float
    end = checked_local_end(LocalEnd(own=large, sections={"x": large}), base, ["x"])
    assert end.own["a"].dtype == end.sections["x"]["a"].dtype == np.float32
    with pytest.raises(PluginError, match="linear: 'a': a number is NaN or infinite in float16"):
        checked_terms(LocalTerms(linear=large), base)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: checked_terms({}, BASE), "expected a fedbus.LocalTerms, got a dict"),
        (lambda: checked_terms(LocalTerms(proximal=-0.1), BASE), "proximal: .+ got -0.1"),
        (lambda: checked_terms(LocalTerms(linear={"c": BASE["b"]}), BASE), "is named c"),
        (lambda: checked_terms(LocalTerms(linear=WIDE), BASE), r"'a': .+ \(2, 3\), got an array"),
        (lambda: checked_terms(LocalTerms(linear=NAN), BASE), "linear: 'a': a number is NaN"),
        (lambda: checked_local_end(None, BASE, []), "expected a fedbus.LocalEnd"),
        (lambda: checked_local_end(LocalEnd(), BASE, ["x"]), "sections x, got none"),
        (lambda: checked_local_end(LocalEnd(sections={"x": ONES}), BASE, []), "none, got x"),
        (
            lambda: checked_local_end(LocalEnd(sections={"x": WIDE}), BASE, ["x"]),
            "section 'x': no array for b",
        ),
        (
            lambda: checked_local_end(LocalEnd(sections=3), BASE, ["x"]),  # type: ignore[arg-type] # wrong on purpose
            "expected sections x, got 3",
        ),
        (lambda: checked_local_end(LocalEnd(own=NAN), BASE, []), "own: 'a': a number is NaN"),
        (lambda: checked_update(3, BASE), "expected arrays by tensor name, got 3"),
        (lambda: checked_update(WIDE, BASE), "no array for b"),
        (lambda: checked_update({n: x.astype("f8") for n, x in ONES.items()}, BASE), "got float64"),
        (lambda: checked_update({n: x.astype(int) for n, x in ONES.items()}, BASE), "got int64"),
    ],
)
def test_what_is_wrong_is_named_with_its_method(call: Callable[[], object], sentence: str) -> None:
    """The author of the plug-in reads it in a job's failure, far from the code."""
    with pytest.raises(PluginError, match=sentence):
        call()


@pytest.mark.parametrize(("name", "fits"), [("h", True), ("a b", False), (3, False), ("", False)])
def test_names_of_sections_and_state_travel_in_messages(name: object, fits: bool) -> None:
    """They have the form of all names on the bus."""
    assert is_part_name(name) is fits
