"""Weights become one blob and come back; nothing else is taken for one."""

import math
import struct
from typing import cast

import hypothesis.extra.numpy as arrays
import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbus.errors import LayoutError
from fedbus.model.blob import (
    BLOCK_NUMBERS,
    blank,
    check_update,
    decode,
    encode,
    encode_delta,
    flat,
    writable_arrays,
)
from fedbus.model.blob_header import (
    MAX_BLOB_HEADER_BYTES,
    BlobHeader,
    blob_size,
    check_header,
    header_bytes,
    read_header,
)
from fedbus.model.encodings import ENCODINGS
from fedbus.model.layout import Array, Layout, Role, Tensor, Weights

FLOATS = ("float16", "float32", "float64")
WHOLE = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


@st.composite
def weights_of(draw: st.DrawFn, dtypes: tuple[str, ...] = FLOATS + WHOLE) -> Weights:
    """Draw a few named arrays, scalars included."""
    names = draw(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=4, unique=True))
    shapes = arrays.array_shapes(min_dims=0, max_dims=3, max_side=4)
    return {
        name: draw(arrays.arrays(np.dtype(draw(st.sampled_from(dtypes))), draw(shapes)))
        for name in names
    }


def small() -> dict[str, Array]:
    """Make two arrays of a layer."""
    return {
        "layers.0.weight": np.arange(6, dtype=np.float32).reshape(3, 2),
        "layers.0.bias": np.array([0.5, -0.5], np.float32),
    }


@given(weights_of())
def test_what_is_encoded_decodes_to_the_same_names_and_numbers(weights: Weights) -> None:
    """Every dtype on the list survives, NaN and scalars too."""
    layout = Layout.of(weights)
    blob = encode(weights, layout)
    back = decode(blob, layout)
    assert back.keys() == weights.keys()
    for name, array in weights.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


@given(weights_of(), st.sampled_from(sorted(ENCODINGS)))
def test_a_blob_has_the_size_foretold_and_aligned_data(weights: Weights, encoding: str) -> None:
    """A receiver knows how much memory it needs before the first byte arrives."""
    layout = Layout.of(weights)
    blob = blank(layout, encoding)
    header = read_header(blob[:MAX_BLOB_HEADER_BYTES])
    size = ENCODINGS[encoding].bounds(layout).most
    assert len(blob) == blob_size(layout, encoding) == header.offset + size
    assert blob.startswith(header_bytes(layout, encoding))
    assert header == BlobHeader(encoding, layout.digest, header.offset)
    assert header.offset % 64 == 0


@given(weights_of(WHOLE), st.data())
def test_the_difference_of_whole_numbers_is_what_it_is_or_refused(
    base: Weights, data: st.DataObject
) -> None:
    """A difference that wraps would be averaged into nonsense: 200 - 0 is no int8, nor uint8."""
    layout = Layout.of(base)
    new = {n: data.draw(arrays.arrays(w.dtype, w.shape), label=n) for n, w in base.items()}
    exact = {
        n: [int(x) - int(y) for x, y in zip(new[n].flat, old.flat, strict=True)]
        for n, old in base.items()
    }
    beyond = [n for n, d in exact.items() if any(not -(2**63) <= x < 2**63 for x in d)]
    if beyond:
        with pytest.raises(LayoutError, match="changed by more than"):
            encode_delta(new, encode(base, layout), layout)
        return
    change = decode(encode_delta(new, encode(base, layout), layout), layout, "delta")
    for name, difference in exact.items():
        assert change[name].ravel().tolist() == difference


@pytest.mark.parametrize(
    ("dtype", "old", "new"),
    [("int64", -(2**62), 2**62 + 1), ("uint64", 0, 2**63), ("uint64", 2**63 + 1, 0)],
)
def test_a_difference_of_more_than_64_bits_is_refused_by_name(
    dtype: str, old: int, new: int
) -> None:
    """No dtype of a delta holds it, and cut to 64 bits it would be another one."""
    base = {"ids": np.array([old], dtype)}
    layout = Layout.of(base)
    with pytest.raises(LayoutError, match=f"tensor 'ids': an {dtype} changed by more than 2"):
        encode_delta({"ids": np.array([new], dtype)}, encode(base, layout), layout)


def test_a_delta_leaves_out_what_is_local_to_the_agent() -> None:
    """Such a tensor never leaves it; the model itself has a value for those who begin."""
    weights = small()
    layout = Layout.of(weights, {"layers.0.bias": "local"})
    change = decode(encode_delta(weights, encode(weights, layout), layout), layout, "delta")
    assert change.keys() == {"layers.0.weight"}
    assert decode(encode(weights, layout), layout).keys() == weights.keys()
    assert blob_size(layout, "plain") - blob_size(layout, "delta") == 8


def test_a_layout_of_local_tensors_only_is_none() -> None:
    """There would be nothing to average."""
    with pytest.raises(LayoutError, match="local tensors only"):
        Layout.of({"w": np.zeros(1, np.float32)}, {"w": "local"})


def test_a_delta_is_the_new_minus_the_base() -> None:
    """Number by number."""
    base = small()
    new = {name: array + np.float32(1.5) for name, array in base.items()}
    layout = Layout.of(base)
    change = decode(encode_delta(new, encode(base, layout), layout), layout)
    for name in base:
        np.testing.assert_array_equal(change[name], np.full_like(base[name], 1.5))


def test_a_delta_is_no_base() -> None:
    """Two updates subtracted from each other mean nothing."""
    layout = Layout.of(small())
    with pytest.raises(LayoutError, match="a delta blob where a plain one belongs"):
        encode_delta(small(), encode(small(), layout, "delta"), layout)


def test_strides_and_byte_order_are_the_senders_own_affair() -> None:
    """A transposed or big-endian array is written like any other."""
    weights = {"w": np.arange(6, dtype=">f4").reshape(2, 3).T}
    layout = Layout.of(weights)
    np.testing.assert_array_equal(
        decode(encode(weights, layout), layout)["w"], [[0, 3], [1, 4], [2, 5]]
    )


def test_decoding_copies_nothing_and_makes_no_array_writable() -> None:
    """A view costs no memory, and neither a stored model nor a trainer's base is changed by it."""
    layout = Layout.of(small())
    blob = encode(small(), layout)
    bias = decode(blob, layout)["layers.0.bias"]
    writable_arrays(blob, layout)["layers.0.bias"][0] = 7
    assert flat(blob, layout)[0] == bias[0] == 7
    assert not bias.flags.writeable
    assert not decode(bytes(blob), layout)["layers.0.bias"].flags.writeable


def test_a_blank_blob_is_filled_through_its_flat_view() -> None:
    """So the collector adds a mean to a base with one allocation."""
    layout = Layout.of(small())
    base, out = encode(small(), layout), blank(layout, "plain")
    np.add(flat(base, layout), np.float32(1), out=flat(out, layout))
    np.testing.assert_array_equal(decode(out, layout)["layers.0.bias"], [1.5, 0.5])


def test_only_float32_models_have_a_flat_view() -> None:
    """Folding other dtypes as float32 would be nonsense."""
    layout = Layout.of({"steps": np.zeros(1, np.int64)})
    assert not layout.all_float32
    with pytest.raises(LayoutError, match="not float32"):
        flat(encode({"steps": np.zeros(1, np.int64)}, layout), layout)


def test_frameworks_that_list_their_arrays_in_another_order_share_a_layout() -> None:
    """One model, one digest."""
    assert Layout.of(small()).digest == Layout.of(dict(reversed(small().items()))).digest


@pytest.mark.parametrize(
    "other",
    [
        Tensor("v", (2,), "float32"),
        Tensor("w", (2, 1), "float32"),
        Tensor("w", (2,), "float64"),
        Tensor("w", (2,), "float32", "local"),
    ],
    ids=["name", "shape", "dtype", "role"],
)
def test_every_part_of_a_tensor_counts_in_the_digest(other: Tensor) -> None:
    """A blob for another layout is never taken for ours."""
    also = Tensor("z", (2,), "float32")
    ours, theirs = Layout((Tensor("w", (2,), "float32"), also)), Layout((other, also))
    blob = blank(theirs, "plain")
    with pytest.raises(LayoutError, match=f"a blob of layout {theirs.digest[:12]}"):
        decode(blob, ours)


def test_a_layout_is_read_from_what_a_message_says() -> None:
    """Lists become tuples, and roles are kept."""
    said = [Tensor("m", (2,), "float32", "statistic"), Tensor("w", (2, 2), "float16")]
    layout = Layout.read(said)
    assert (layout.size, layout.numbers) == (16, 6)
    assert layout == Layout(tuple(said))
    assert Layout.of({"m": np.zeros(2, np.float32)}, {"m": "statistic"}).tensors == (said[0],)


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ([], "a layout of 0 tensors"),
        ([("w", (1,), "float32", "weight")] * 2, "2 tensors named 'w'"),
        ([(f"w{i}", (1,), "float32", "weight") for i in range(4097)], "4097 tensors; 1 to 4096"),
        ([("", (1,), "float32", "weight")], "1 to 256 characters"),
        ([("w" * 257, (1,), "float32", "weight")], "1 to 256 characters"),
        ([("w", (1,), "object", "weight")], "dtype 'object' is none of bool, float16"),
        ([("w", (1,), "float32", "boss")], "role 'boss' is none of local, statistic, weight"),
        ([("w", (1,) * 9, "float32", "weight")], "9 dimensions; at most 8"),
        ([("w", (2, 0), "float32", "weight")], "every dimension is 1 to"),
        ([("w", (2**30, 2**30), "float32", "weight")], "at most 68719476736"),
    ],
)
def test_an_impossible_layout_is_refused(
    tensors: list[tuple[str, tuple[int, ...], str, str]], sentence: str
) -> None:
    """A spec from the network may say anything."""
    with pytest.raises(LayoutError, match=sentence):
        Layout(tuple(Tensor(n, s, d, cast("Role", r)) for n, s, d, r in tensors))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"layers.0.bias": None}, "weights lack layers.0.bias"),
        ({"extra": np.zeros(1)}, "weights hold extra"),
        (
            {"layers.0.bias": np.zeros(3, np.float32)},
            r"float32 \(3,\) where the layout has float32 \(2,\)",
        ),
        ({"layers.0.bias": np.zeros(2)}, r"float64 \(2,\) where the layout has float32 \(2,\)"),
    ],
    ids=["missing", "foreign", "shape", "dtype"],
)
def test_weights_that_do_not_fit_are_refused_by_name(
    change: dict[str, Array | None], sentence: str
) -> None:
    """Nothing is reshaped or cast in silence."""
    weights = {n: w for n, w in (small() | change).items() if w is not None}
    with pytest.raises(LayoutError, match=sentence):
        encode(weights, Layout.of(small()))


def test_a_long_list_of_names_is_cut_short() -> None:
    """An error fits in a message."""
    layout = Layout.of({f"w{i:02}": np.zeros(1) for i in range(20)})
    with pytest.raises(LayoutError, match="w11 and 8 more"):
        layout.check({})


def _header(fields: object, length: int | None = None) -> bytes:
    packed: bytes = msgpack.packb(fields)
    return (
        struct.pack("<4sI", b"FBW1", len(packed) if length is None else length)
        + packed
        + bytes(256)
    )


@pytest.mark.parametrize(
    ("prefix", "sentence"),
    [
        (b"", "not a weights blob"),
        (b"PK\x03\x04" + bytes(100), "begins with b'PK"),
        (b"FBW1\x01\x00", "not a weights blob"),
        (_header({}, 2**32 - 1), "must end within 4096"),
        (_header({"encoding": "plain", "layout": "0" * 64})[:40], "inside its header"),
        (_header({"encoding": "pickle", "layout": "0" * 64}), "encoded as 'pickle'; delta, plain"),
        (_header({"encoding": "plain", "layout": "0"}), "names no encoding or no layout"),
        (_header([1, 2]), "names no encoding or no layout"),
        (_header({"encoding": "plain"}, 3), "not msgpack"),
        (_header({1: 2}), "not msgpack"),
    ],
)
def test_what_is_not_a_blob_is_refused_at_its_first_bytes(prefix: bytes, sentence: str) -> None:
    """Before anything is allocated for it."""
    with pytest.raises(LayoutError, match=sentence):
        read_header(prefix)


@given(st.binary(max_size=300))
@settings(max_examples=500)
def test_no_header_makes_the_reader_fail_in_another_way(body: bytes) -> None:
    """Only a layout error comes out, whatever the network sends."""
    for prefix in (body, struct.pack("<4sI", b"FBW1", len(body)) + body + bytes(64)):
        with pytest.raises(LayoutError):
            read_header(prefix)


def test_a_newer_peers_header_keys_are_ignored() -> None:
    """So that one may be added."""
    newer = _header({"encoding": "delta", "layout": "0" * 64, "noise": 1.0})
    assert read_header(newer).encoding == "delta"


@pytest.mark.parametrize("wrong", [-1, 1])
def test_a_blob_cut_short_or_padded_is_refused(wrong: int) -> None:
    """The size is known from the layout, to the byte."""
    layout = Layout.of(small())
    blob = encode(small(), layout)
    with pytest.raises(LayoutError, match="its layout makes"):
        check_header(blob, len(blob) + wrong, layout)


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("at", [0, BLOCK_NUMBERS - 1, BLOCK_NUMBERS, 2 * BLOCK_NUMBERS + 4])
def test_a_poisoned_update_is_refused_wherever_the_poison_sits(poison: float, at: int) -> None:
    """One NaN in a mean is NaN everywhere."""
    block = np.zeros(2 * BLOCK_NUMBERS + 5, np.float32)
    check_update(block)
    block[at] = poison
    with pytest.raises(LayoutError, match=f"number {at}: .* is not a finite number"):
        check_update(block)


def test_the_refusal_names_the_tensor() -> None:
    """A person can find the layer."""
    weights = small()
    weights["layers.0.weight"][1, 1] = np.nan
    layout = Layout.of(weights)
    with pytest.raises(LayoutError, match=r"tensor 'layers\.0\.weight': nan"):
        check_update(flat(encode(weights, layout), layout), layout)
    with pytest.raises(LayoutError, match="number 8 is beyond the layout's 8"):
        layout.name_at(8)


def test_integers_and_huge_floats_are_finite() -> None:
    """A sum that overflows would cry wolf."""
    check_update(np.array([2**62], np.int64))
    check_update(np.full(3, np.finfo(np.float32).max, np.float32))
