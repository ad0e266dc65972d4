"""Every encoding says how large its data are, and gives back the numbers that it was given."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.errors import LayoutError
from fedbus.model.blob_header import MAX_BLOB_HEADER_BYTES, blob_size, check_size
from fedbus.model.encodings import ENCODINGS, SizeBounds, encoding_named
from fedbus.model.layout import Layout, Tensor, Weights

LAYOUT = Layout(
    (
        Tensor("weight", (5, 3), "float32"),
        Tensor("count", (), "int64", "statistic"),
        Tensor("own", (4,), "float64", "local"),
        Tensor("mask", (7,), "bool"),
        Tensor("half", (2, 2), "float16"),
    )
)
names = pytest.mark.parametrize("name", sorted(ENCODINGS))


def arrays_for(name: str) -> Weights:
    """Arrays that an encoding accepts for the layout."""
    tensors = LAYOUT.shared if name == "delta" else LAYOUT.tensors
    return {
        tensor.name: np.arange(tensor.numbers).reshape(tensor.shape).astype(tensor.dtype)
        for tensor in tensors
    }


@names
def test_data_are_as_long_as_the_bounds_say(name: str) -> None:
    """A receiver reserves no more, and refuses what is longer."""
    encoding, weights = ENCODINGS[name], arrays_for(name)
    assert encoding.name == name
    encoding.check(weights, LAYOUT)
    data = bytearray(encoding.bounds(LAYOUT).most)
    encoding.encode(weights, LAYOUT, memoryview(data))
    encoding.verify(len(data), LAYOUT)
    back = encoding.decode(data, LAYOUT)
    assert list(back) == list(weights)
    for key, array in weights.items():
        np.testing.assert_array_equal(back[key], array)
        assert back[key].dtype == array.dtype


@names
@given(numbers=st.integers(1, 20))
def test_blocks_are_the_numbers_of_each_tensor_in_order(name: str, numbers: int) -> None:
    """A reader holds one block of a model at a time."""
    encoding, weights = ENCODINGS[name], arrays_for(name)
    data = bytearray(encoding.bounds(LAYOUT).most)
    encoding.encode(weights, LAYOUT, memoryview(data))
    read: dict[str, list[object]] = {key: [] for key in weights}
    for block in encoding.blocks(lambda at, length: data[at : at + length], LAYOUT, numbers):
        assert 1 <= len(block.numbers) <= numbers
        assert block.at == len(read[block.tensor.name])
        read[block.tensor.name] += block.numbers.tolist()
    assert read == {key: array.ravel().tolist() for key, array in weights.items()}


@names
def test_arrays_that_do_not_fit_are_refused_before_space_is_allocated(name: str) -> None:
    """By the name of the array, and what is wrong with it."""
    encoding, weights = ENCODINGS[name], dict(arrays_for(name))
    weights["weight"] = weights["weight"].astype("f8")
    with pytest.raises(LayoutError, match="tensor 'weight': float64"):
        encoding.check(weights, LAYOUT)
    del weights["weight"]
    with pytest.raises(LayoutError, match="weights lack weight"):
        encoding.check(weights, LAYOUT)


@names
def test_impossible_sizes_are_refused_unread(name: str) -> None:
    """The header of a newer version may be longer, up to a limit."""
    encoding = ENCODINGS[name]
    data = encoding.bounds(LAYOUT).most
    for size in (blob_size(LAYOUT, name), data + 1, data + MAX_BLOB_HEADER_BYTES):
        check_size(size, LAYOUT, name)
    for size in (0, data, data + MAX_BLOB_HEADER_BYTES + 1):
        with pytest.raises(LayoutError, match=f"expected the {data} bytes of the layout and a hea"):
            check_size(size, LAYOUT, name)
    for size in (0, data - 1, data + 1):
        with pytest.raises(LayoutError, match=f"of {size} bytes after its header; .* makes {data}"):
            encoding.verify(size, LAYOUT)


def test_bounds_are_written_as_people_read_them() -> None:
    """An encoding that compresses has two."""
    assert (SizeBounds(36, 36).text, SizeBounds(36, 80).text) == ("36", "36 to 80")


def test_an_unknown_encoding_is_refused_with_those_there_are() -> None:
    """A newer agent may use one that this service cannot read."""
    with pytest.raises(LayoutError, match="encoded as 'pickle'; delta, plain"):
        encoding_named("pickle")
