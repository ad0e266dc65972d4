"""Sections: the arrays of a strategy beside a model's tensors."""

import numpy as np
import pytest

from fedbus.errors import LayoutError
from fedbus.model.layout import Array, Layout, Tensor
from fedbus.model.sections import (
    join_section,
    section_numbers,
    split_section,
    state_layout,
    trained_tensors,
    untrained_tensors,
    update_layout,
)

LAYOUT = Layout(
    (
        Tensor("a", (2, 3), "float32"),
        Tensor("count", (), "int64", "statistic"),
        Tensor("half", (4,), "float16"),
        Tensor("mean", (3,), "float32", "statistic"),
        Tensor("own", (5,), "float32", "local"),
    )
)
ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "half": np.arange(6, 10, dtype=np.float16)}


def test_only_trained_tensors_have_a_place_in_a_section() -> None:
    """Statistics, counters and local tensors have no gradient."""
    assert [tensor.name for tensor in trained_tensors(LAYOUT)] == ["a", "half"]


def test_what_is_sent_beside_trained_tensors_is_not_trained() -> None:
    """Local tensors are not sent."""
    assert [tensor.name for tensor in untrained_tensors(LAYOUT)] == ["count", "mean"]
    whole = Layout((Tensor("steps", (2,), "uint64"), *LAYOUT.tensors))
    assert [tensor.name for tensor in untrained_tensors(whole)] == ["steps", "count", "mean"]
    assert section_numbers(LAYOUT) == 10


def test_layouts_of_updates_and_of_states() -> None:
    """An update without sections has the layout of the model, and so its digest."""
    assert update_layout(LAYOUT, ()) is LAYOUT
    changed = update_layout(LAYOUT, ("control",))
    assert changed.tensors == (*LAYOUT.tensors, Tensor("section:control", (10,), "float32"))
    assert state_layout(LAYOUT, ("one", "two")).numbers == 20


def test_a_section_that_is_joined_splits_into_the_same_arrays() -> None:
    """In float32; the views show the section itself."""
    section = join_section(ARRAYS, LAYOUT)
    assert section.tolist() == list(range(10))
    views = split_section(section, LAYOUT)
    assert views["a"].shape == (2, 3)
    views["half"][:] = 0
    assert section.tolist() == [0, 1, 2, 3, 4, 5, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"a": ARRAYS["a"]}, "section of 'half': expected shape (4,), got none"),
        ({**ARRAYS, "a": np.zeros(6)}, "section of 'a': expected shape (2, 3), got shape (6,)"),
    ],
)
def test_arrays_of_another_model_are_refused(arrays: dict[str, Array], reason: str) -> None:
    """The reason names the tensor."""
    with pytest.raises(LayoutError) as refused:
        join_section(arrays, LAYOUT)
    assert str(refused.value) == reason


def test_a_model_without_trained_tensors_has_no_sections() -> None:
    """A strategy that needs one says so."""
    with pytest.raises(LayoutError, match="a model without floating-point weights"):
        update_layout(Layout((Tensor("count", (), "int64"),)), ("control",))
