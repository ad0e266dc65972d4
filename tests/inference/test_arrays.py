"""Arrays are checked before they are created, and every refusal names what was expected."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedbus.errors import WireError
from fedbus.model.layout import DTYPES
from fedbus_inference.arrays import parse_array, to_raw
from fedbus_inference.input_spec import InputSpec, read_input_specs

MAX_ELEMENTS = 1000
ROW = InputSpec((3,), "float32")

dtypes = st.sampled_from(sorted(DTYPES)).map(np.dtype)
shapes = hnp.array_shapes(min_dims=1, max_dims=4, max_side=5)


def finite(dtype: "np.dtype[Any]") -> st.SearchStrategy[Any]:
    """Draw arrays of a type without NaN and infinity."""
    elements = hnp.from_dtype(dtype, allow_nan=False, allow_infinity=False)
    return hnp.arrays(dtype, shapes, elements=elements)


arrays = dtypes.flatmap(finite)
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.binary(max_size=3)
)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)
raws = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*sorted(DTYPES), "object", "S9", ">f4", ""]) | leaves,
        "shape": st.lists(st.integers(-1, 10) | leaves, max_size=10) | leaves,
        "data": st.binary(max_size=64) | leaves,
    }
)
specs = st.builds(
    InputSpec,
    st.none() | st.lists(st.integers(1, 4), max_size=3).map(tuple),
    st.sampled_from(sorted(DTYPES)),
)


def only_spec(stated: dict[str, Any], most: int) -> InputSpec:
    """Read the spec of a model with one input."""
    (input_spec,) = read_input_specs(stated, most).values()
    return input_spec


def refused(value: object, input_spec: InputSpec = ROW, most: int = MAX_ELEMENTS) -> str:
    """Parse inputs that must be refused; return the message."""
    with pytest.raises(WireError) as caught:
        parse_array(value, input_spec, most)
    return str(caught.value)


@given(arrays)
def test_an_array_comes_back_from_nested_lists(array: np.ndarray[Any, Any]) -> None:
    """What is answered in JSON is what the model said, to the last bit."""
    again = parse_array(array.tolist(), InputSpec(array.shape[1:], array.dtype.name), MAX_ELEMENTS)
    assert again.dtype == array.dtype
    assert np.array_equal(again, array)


@given(arrays)
def test_an_array_comes_back_raw_in_any_byte_order(array: np.ndarray[Any, Any]) -> None:
    """Raw data is little-endian, whatever the machine that wrote it."""
    foreign = array.astype(array.dtype.newbyteorder(">"))
    again = parse_array(to_raw(foreign), InputSpec(array.shape[1:], array.dtype.name), MAX_ELEMENTS)
    assert np.array_equal(again, array)


@given(anything | raws, specs)
def test_whatever_comes_is_an_array_that_fits_or_a_refusal(
    value: object, input_spec: InputSpec
) -> None:
    """Nothing a client sends raises anything else, and what is accepted keeps its promise."""
    try:
        array = parse_array(value, input_spec, 50)
    except WireError as error:
        sentence = str(error)
    else:
        sentence = ""
        assert array.dtype.name == input_spec.dtype
        assert array.size <= 50
        assert input_spec.shape is None or array.shape[1:] == input_spec.shape
        assert np.isfinite(array).all()
    assert len(sentence) < 500


@given(anything)
def test_whatever_a_spec_says_is_a_spec_or_a_refusal(value: object) -> None:
    """A spec is read once, and its oddities end there."""
    for stated in ({"shape": value}, {"dtype": str(value)}, {"data_types": value}):
        try:
            input_spec = only_spec(stated, 100)
        except WireError:
            continue
        assert input_spec.shape is None or math.prod(input_spec.shape) <= 100


def test_one_example_becomes_a_batch_of_one() -> None:
    """A person with one digit need not know about batches."""
    assert parse_array([1, 2, 3], ROW, MAX_ELEMENTS).tolist() == [[1.0, 2.0, 3.0]]


def test_a_batch_stays_a_batch() -> None:
    """Rows keep their order."""
    assert parse_array([[1, 2, 3], [4, 5, 6]], ROW, MAX_ELEMENTS).tolist() == [
        [1, 2, 3],
        [4, 5, 6],
    ]


def test_a_model_that_does_not_say_takes_any_batch() -> None:
    """The predictor itself may know better than the spec."""
    assert parse_array([[[1]], [[2]]], InputSpec(None), MAX_ELEMENTS).shape == (2, 1, 1)


def test_raw_without_a_dimension_is_no_batch() -> None:
    """A single number is not a list of examples."""
    scalar = {"dtype": "float32", "shape": [], "data": bytes(4)}
    assert (
        refused(scalar, InputSpec(None))
        == "inputs of shape []; this model takes a list of examples"
    )
    assert parse_array(scalar, InputSpec(()), MAX_ELEMENTS).shape == (1,)


def test_another_shape_is_refused_with_the_wanted_one() -> None:
    """The sentence says what was given, and what to send instead."""
    assert refused([[1, 2]]) == (
        "inputs of shape [1, 2]; this model takes [3] (float32), or [n, 3] for n examples"
    )


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        pytest.param(
            "abc",
            'inputs: expected nested lists of numbers, or in msgpack a map of "dtype", "shape" and '
            'little-endian "data"; got a string',
            id="no-list",
        ),
        pytest.param(
            [[1, 2, 3], [1, 2]],
            "inputs[1]: expected 3 elements, as inputs[0] has, got 2",
            id="ragged",
        ),
        pytest.param([[1, 2, 3], 4], "inputs[1]: expected a list, got a number", id="half-nested"),
        pytest.param(
            [[1, 2, 3], [4, "5", 6]], "inputs[1][1]: expected a number, got a string", id="string"
        ),
        pytest.param([1, True, 3], "inputs[1]: expected a number, got a Boolean", id="bool"),
        pytest.param([1, [2], 3], "inputs[1]: expected a number, got a list", id="late-list"),
        pytest.param(
            [], "inputs of shape [0] contain no number; send at least one example", id="empty"
        ),
        pytest.param(
            [[], []],
            "inputs of shape [2, 0] contain no number; send at least one example",
            id="empty-rows",
        ),
        pytest.param(
            [1, 1e39, 2], "inputs[1] is not a finite number that fits in float32", id="big"
        ),
        pytest.param(
            [10**400, 1, 2], "inputs contain a whole number too large for float32", id="huge"
        ),
        pytest.param(
            [math.nan, 1, 2], "inputs[0] is not a finite number that fits in float32", id="nan"
        ),
        pytest.param(
            [[[[[[[[[1]]]]]]]]], "inputs: expected at most 8 levels of lists, got more", id="deep"
        ),
    ],
)
def test_lists_that_are_no_array_are_refused_by_place(value: object, sentence: str) -> None:
    """The message names the wrong element."""
    assert refused(value) == sentence


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param(
            {"dtype": "object"}, "inputs.dtype: expected one of bool, float16", id="dtype"
        ),
        pytest.param({"dtype": 4}, "uint8, got 4", id="dtype-type"),
        pytest.param(
            {"shape": 3},
            "inputs.shape: expected a list of at most 8 whole numbers above 0, got 3",
            id="shape",
        ),
        pytest.param({"shape": [1] * 9}, "a list of at most 8 whole numbers", id="dimensions"),
        pytest.param({"shape": [3, 0]}, "whole numbers above 0, got", id="zero"),
        pytest.param({"shape": [True]}, "whole numbers above 0, got", id="bool"),
        pytest.param(
            {"shape": [4]},
            "inputs.data: expected 16 bytes for float32 of shape [4], got 12",
            id="short",
        ),
        pytest.param(
            {"shape": [2**62]},
            "at most 1000 numbers, got 4611686018427387904; send fewer",
            id="large",
        ),
        pytest.param(
            {"data": np.array([1, np.inf, 0], "<f4").tobytes()},
            "inputs[1] is not a finite number that fits in float32",
            id="infinite",
        ),
    ],
)
def test_raw_data_that_is_no_array_is_refused(change: dict[str, Any], sentence: str) -> None:
    """Every claim is checked against the bytes before an array is made of them."""
    fine = {"dtype": "float32", "shape": [3], "data": bytes(12)}
    assert parse_array(fine, ROW, MAX_ELEMENTS).shape == (1, 3)
    assert sentence in refused(fine | change)


def test_too_many_numbers_are_refused_before_they_are_made() -> None:
    """A setting bounds what one request may take."""
    assert refused([[0] * 3] * 5, most=14) == (
        "inputs: expected at most 14 numbers, got 15; send fewer examples"
    )
    assert refused([0] * 15, InputSpec(None), most=14).startswith(
        "inputs: expected at most 14 numbers, got 15"
    )


def test_whole_numbers_stay_within_their_type() -> None:
    """Nothing wraps around in silence."""
    small = InputSpec((2,), "int8")
    assert parse_array([-128, 127], small, MAX_ELEMENTS).tolist() == [[-128, 127]]
    outside = "inputs: expected numbers from -128 to 127 (int8), got "
    assert refused([1, 128], small) == outside + "1 to 128"
    assert refused([1, 1.5], small) == "inputs[1]: expected a whole number (int8), got 1.5"
    wide = {"dtype": "int64", "shape": [2], "data": np.array([1, -129], "<i8").tobytes()}
    assert refused(wide, small) == outside + "-129 to 1"
    for wrong, said in ((0.5, "0.5"), (np.nan, "nan"), (np.inf, "inf")):
        real = {"dtype": "float64", "shape": [2], "data": np.array([3, wrong], "<f8").tobytes()}
        assert refused(real, small) == f"inputs[1]: expected a whole number (int8), got {said}"
    real["data"] = np.array([3, 4], "<f8").tobytes()
    assert parse_array(real, small, MAX_ELEMENTS).tolist() == [[3, 4]]
    assert (
        parse_array([3.0, 4.0], small, MAX_ELEMENTS).dtype == np.int8
    )  # as many a program writes 3


@pytest.mark.parametrize(
    ("stated", "input_spec"),
    [
        pytest.param(
            {"shape": [8, 8], "dtype": "float64"}, InputSpec((8, 8), "float64"), id="ours"
        ),
        pytest.param({"data_types": {"numerical": {"size": [64]}}}, InputSpec((64,)), id="aeros"),
        pytest.param(
            {"x": {"data_types": {"numerical": {"size": [64]}}}},
            InputSpec((64,)),
            id="aeros-under-x",
        ),
        pytest.param({"dtype": "int32"}, InputSpec(None, "int32"), id="only-a-dtype"),
        pytest.param({}, InputSpec(None), id="nothing"),
    ],
)
def test_a_spec_says_what_one_example_looks_like(
    stated: dict[str, Any], input_spec: InputSpec
) -> None:
    """In our words or in those of aerOS."""
    assert only_spec(stated, MAX_ELEMENTS) == input_spec


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        pytest.param({"dtype": "string"}, "input.dtype is 'string'", id="dtype"),
        pytest.param({"dtype": ["float32"]}, "input.dtype is ['float32']", id="dtype-list"),
        pytest.param({"shape": "64"}, "input.shape is '64'", id="shape"),
        pytest.param(
            {"data_types": {"numerical": {}}}, "input.numerical.size is None", id="without-size"
        ),
        pytest.param(
            {"data_types": {"a": {"size": [1]}, "b": {}}},
            "expected data_types with",
            id="two-inputs",
        ),
        pytest.param({"data_types": {"numerical": 3}}, "expected data_types with", id="aeros-odd"),
        pytest.param({"shape": [10**9]}, "at most 1000 numbers, got 1000000000", id="large"),
    ],
)
def test_a_spec_that_describes_no_array_is_refused(stated: dict[str, Any], sentence: str) -> None:
    """Such a version never takes over."""
    with pytest.raises(WireError) as caught:
        only_spec(stated, MAX_ELEMENTS)
    assert sentence in str(caught.value)


NORMALIZED = InputSpec((2,), "float32", normalized=True)


@pytest.mark.parametrize(
    "inputs",
    [
        [[0, 1], [0, 16]],
        [[-1, 1], [0, -1.001]],
        {"dtype": "uint8", "shape": [2, 2], "data": bytes([0, 1, 1, 255])},
        {"dtype": "int8", "shape": [2, 2], "data": bytes([0, 1, 1, 128])},  # -128
        {"dtype": "float64", "shape": [2, 2], "data": np.array([0, 0, 0, 2], "<f8").tobytes()},
    ],
)
def test_rows_beyond_what_a_model_was_trained_on_are_refused(inputs: object) -> None:
    """It would answer them with certainty, and wrongly. Agents refuse such rows in training."""
    sentence = refused(inputs, NORMALIZED)
    assert sentence.startswith("inputs[1][1] is ")
    assert "this model takes numbers from -1 to 1" in sentence
    assert (
        len(parse_array(inputs, InputSpec((2,)), MAX_ELEMENTS)) == 2
    )  # a spec that says nothing promises nothing
    assert parse_array([1, -1], NORMALIZED, MAX_ELEMENTS).tolist() == [[1, -1]]


@pytest.mark.parametrize(
    "inputs",
    [[300, 300, 300], {"dtype": "int16", "shape": [3], "data": bytes([44, 1] * 3)}],
)
@pytest.mark.parametrize("spec", [NORMALIZED, InputSpec((2,), "uint8")])
def test_the_shape_is_checked_before_the_range(inputs: object, spec: InputSpec) -> None:
    """A row of a wrong length is often another kind of row, whose range says nothing."""
    assert refused(inputs, spec).startswith("inputs of shape [3]; this model takes [2] (")


def test_a_spec_says_whether_numbers_are_normalized() -> None:
    """As agents announce it, or beside a plain shape."""
    said = {"data_types": {"image": {"size": [2, 2, 1], "normalized": True}}}
    assert only_spec(said, MAX_ELEMENTS) == InputSpec((2, 2, 1), "float32", normalized=True)
    assert only_spec({"shape": [2], "normalized": True}, MAX_ELEMENTS) == NORMALIZED
    assert not only_spec({"shape": [2]}, MAX_ELEMENTS).normalized
    assert "(float32, normalized to -1 to 1)" in NORMALIZED.expected


@pytest.mark.parametrize(("stated", "range_"), [({}, (-1, 1)), ({"range": [0, 1]}, (0, 1))])
def test_normalized_numbers_may_be_warned_of_only(
    stated: dict[str, Any], range_: tuple[float, float]
) -> None:
    """`out_of_range` decides; without a range, -1 to 1 is warned of."""
    half = {"shape": [2], "normalized": True, "out_of_range": "warn", **stated}
    found = only_spec(half, MAX_ELEMENTS)
    assert found == InputSpec((2,), range=range_, warns=True)


@pytest.mark.parametrize(
    ("shape", "row", "hint"),
    [
        ((5, 3, 8, 9), (8, 9, 3), "channels first, this model takes them last: transpose"),
        ((3, 8, 9), (8, 9, 3), "channels first, this model takes them last: transpose"),
        ((5, 8, 9, 3), (3, 8, 9), "channels last, this model takes them first: transpose"),
        ((5, 8, 8), (8, 8, 1), "reshape them to [n, 8, 8, 1]"),
        ((5, 64), (8, 8, 1), "reshape them to [n, 8, 8, 1]"),
        ((8, 8), (64,), "reshape them to [64]"),
        ((5, 4, 4, 4), (2, 4, 8), "reshape them to [n, 2, 4, 8]"),
    ],
)
def test_a_refused_shape_comes_with_what_mends_it(
    shape: tuple[int, ...], row: tuple[int, ...], hint: str
) -> None:
    """Where the same numbers in another order would do."""
    sentence = refused(np.zeros(shape).tolist(), InputSpec(row), 10_000)
    assert sentence.endswith(hint)


def test_a_wrong_number_of_features_has_no_such_mend() -> None:
    """Both shapes are told."""
    assert refused([[1, 2]]) == (
        "inputs of shape [1, 2]; this model takes [3] (float32), or [n, 3] for n examples"
    )
    assert refused([1, 2]).endswith("[n, 3] for n examples")


def test_truth_values_are_taken_where_a_model_takes_them() -> None:
    """And 0 or 1 as well, nothing else."""
    yes = InputSpec((2,), "bool")
    assert parse_array([True, 0], yes, MAX_ELEMENTS).tolist() == [[True, False]]
    assert refused([1, 2], yes) == "inputs: expected numbers from 0 to 1 (bool), got 1 to 2"
    assert refused([True, 0, 1]) == "inputs[0]: expected a number, got a Boolean"


@pytest.mark.parametrize("data", [b"\x02\x00\x01", b"\x00\xff\x01"])
def test_bytes_that_are_no_booleans_are_refused(data: bytes) -> None:
    """A framework may take any other byte for anything."""
    spec = only_spec({"shape": [3], "dtype": "bool"}, MAX_ELEMENTS)
    sent = {"dtype": "bool", "shape": [1, 3], "data": data}
    assert "expected a byte 0 or 1 for each Boolean" in refused(sent, spec)
