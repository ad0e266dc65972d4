"""Bits of frozen numbers: read and set at any position, and their blob."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.errors import LayoutError
from fedbus.model.blob import encode
from fedbus.model.frozen_bits import FrozenBits, frozen_layout
from fedbus.model.layout import Layout, Tensor

LAYOUT = Layout(
    (
        Tensor("w", (3, 3), "float32"),
        Tensor("steps", (2,), "int64"),
        Tensor("b", (2,), "float16"),
        Tensor("own", (4,), "float32", "local"),
    )
)
"""Eleven trained numbers."""


@given(bits=st.lists(st.booleans(), min_size=1, max_size=50), data=st.data())
def test_bits_are_those_that_were_set_block_by_block(bits: list[bool], data: st.DataObject) -> None:
    """Wherever the blocks begin, which need not be at a byte."""
    frozen = FrozenBits(len(bits))
    at = 0
    while at < len(bits):
        block = np.array(bits[at : at + data.draw(st.integers(1, 20))])
        frozen.freeze(at, block)
        at += len(block)
    assert frozen.count == sum(bits)
    assert frozen.read(0, len(bits)).tolist() == bits
    first = data.draw(st.integers(0, len(bits)))
    last = data.draw(st.integers(first, len(bits)))
    assert frozen.read(first, last - first).tolist() == bits[first:last]


def test_a_blob_holds_one_bit_for_each_trained_number() -> None:
    """Whole numbers and local tensors have none."""
    frozen = FrozenBits(11)
    frozen.freeze(9, np.array([True, False]))
    blob = frozen.blob(LAYOUT)
    assert bytes(blob[-2:]) == bytes([0b0, 0b0100_0000])
    assert FrozenBits.of_blob(blob, LAYOUT).read(0, 11).tolist() == [False] * 9 + [True, False]


def test_a_blob_of_another_model_or_with_more_bits_is_refused() -> None:
    """Nothing about the sender is trusted."""
    with pytest.raises(LayoutError, match="frozen bits of 3 bytes; 11 numbers have 2"):
        FrozenBits(11, np.zeros(3, np.uint8))
    more = {"frozen": np.array([0, 0b0001_0000], np.uint8)}
    with pytest.raises(LayoutError, match="bits after the last of 11 numbers"):
        FrozenBits.of_blob(encode(more, frozen_layout(LAYOUT)), LAYOUT)
    other = Layout((Tensor("w", (30,), "float32"),))
    with pytest.raises(LayoutError, match="layout"):
        FrozenBits.of_blob(FrozenBits(30).blob(other), LAYOUT)


def test_a_model_without_trained_numbers_has_no_frozen_ones() -> None:
    """Such a strategy trains nothing."""
    with pytest.raises(LayoutError, match="has none to train"):
        frozen_layout(Layout((Tensor("steps", (2,), "int64"),)))
