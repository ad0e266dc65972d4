"""A request's inputs by name: each refusal names the input, and nothing else is ever raised."""

from typing import Any

import numpy as np
import pytest

from fedbus.errors import WireError
from fedbus_inference.input_spec import InputSpec, read_input_specs
from fedbus_inference.inputs import check_inputs, expected_inputs, is_raw, parse_inputs

MAX_ELEMENTS = 100
ONE = {"inputs": InputSpec((2,))}
NAMED_ONE = {"image": InputSpec((2,))}
TWO = {"image": InputSpec((2,)), "age": InputSpec((), "int32")}


def raw(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Write an array as a msgpack client would."""
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": array.tobytes()}


ROWS = np.array([[1, 2], [3, 4]], "<f4")


@pytest.mark.parametrize("specs", [ONE, NAMED_ONE])
@pytest.mark.parametrize("value", [[[1, 2], [3, 4]], raw(ROWS)])
def test_one_input_needs_no_name_and_may_have_one(
    specs: dict[str, InputSpec], value: object
) -> None:
    """The same request fits a model whatever its framework calls the input."""
    (name,) = specs
    for given in (value, {name: value}):
        found = parse_inputs(given, specs, MAX_ELEMENTS)
        assert found.arrays[name].tolist() == ROWS.tolist()
        assert (found.rows, found.elements, found.warnings) == (2, 4, ())
        assert is_raw(given) == isinstance(value, dict)


def test_several_inputs_come_by_name() -> None:
    """One example or a batch; raw and nested lists may stand side by side."""
    found = parse_inputs({"age": [7, 9], "image": raw(ROWS)}, TWO, MAX_ELEMENTS)
    assert list(found.arrays) == ["image", "age"]
    assert found.arrays["age"].tolist() == [7, 9]
    assert found.arrays["age"].dtype == np.int32
    assert (found.rows, found.elements) == (2, 6)
    again = check_inputs({"image": ROWS, "age": np.array([7.0, 9.0])}, TWO, MAX_ELEMENTS)
    assert again.arrays["age"].dtype == np.int32
    assert is_raw({"image": [1], "age": raw(ROWS)})


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        pytest.param(
            [[1, 2]],
            "inputs: expected a map with one array for each of 'age', 'image'",
            id="no-names",
        ),
        pytest.param(
            raw(ROWS),
            "inputs: expected a map with one array for each of 'age', 'image'",
            id="raw-without-name",
        ),
        pytest.param({"image": [1, 2]}, "inputs: 'age' is missing", id="missing"),
        pytest.param({}, "inputs: 'image' is missing", id="none"),
        pytest.param(
            {"image": [1, 2], "age": [1], "x": [1]},
            "inputs: no input 'x'; this model takes 'age', 'image'",
            id="extra",
        ),
        pytest.param(
            {"image": [[1, 2]], "age": [1, 2]},
            "inputs: expected as many examples in each input, got 1 in image, 2 in age",
            id="rows",
        ),
        pytest.param(
            {"image": [[1, 2], [3]], "age": [1, 2]},
            "inputs.image[1]: expected 2 elements, as inputs.image[0] has, got 1",
            id="ragged",
        ),
        pytest.param(
            {"image": [1, float("nan")], "age": [1]},
            "inputs.image[1] is not a finite number",
            id="nan",
        ),
        pytest.param(
            {"image": [1, 2], "age": [1.5]},
            "inputs.age[0]: expected a whole number (int32), got 1.5",
            id="fraction",
        ),
        pytest.param(
            {"image": raw(ROWS) | {"shape": [5]}, "age": [1]},
            "inputs.image.data: expected 20 bytes for float32 of shape [5], got 16",
            id="raw-size",
        ),
        pytest.param({"image": "a", "age": [1]}, "inputs.image: expected nested", id="string"),
        pytest.param(
            {"image": [[1, 2]] * 49, "age": [1] * 49},
            "inputs.age: expected at most 2 numbers, got 49; send fewer examples",
            id="together-too-many",
        ),
    ],
)
def test_a_refusal_names_the_input(value: object, sentence: str) -> None:
    """The client finds the place."""
    with pytest.raises(WireError) as caught:
        parse_inputs(value, TWO, MAX_ELEMENTS)
    assert str(caught.value).startswith(sentence)


def test_a_map_that_is_meant_as_a_raw_array_is_refused_as_one() -> None:
    """Who forgets the bytes is not told of names."""
    with pytest.raises(WireError, match='"dtype", "shape" and little-endian "data"; got a map'):
        parse_inputs({"dtype": "float32", "shape": [2], "data": "AA=="}, ONE, MAX_ELEMENTS)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.array(["a"]), "expected one of bool, float16"),
        (np.zeros((0, 2), np.float32), "contain no number; send at least one example"),
        (np.zeros((51, 2), np.float32), "expected at most 100 numbers, got 102"),
        (np.array([[1, np.inf]], np.float32), "is not a finite number"),
        (np.zeros((1, 3), np.float32), "inputs of shape [1, 3]; this model takes [2]"),
    ],
)
def test_arrays_of_other_protocols_are_checked_alike(
    array: np.ndarray[Any, Any], sentence: str
) -> None:
    """They come decoded, and no less wrong."""
    with pytest.raises(WireError) as caught:
        check_inputs({"inputs": array}, ONE, MAX_ELEMENTS)
    assert sentence in str(caught.value)


def test_a_spec_states_several_inputs_by_name() -> None:
    """In the order in which the spec has them."""
    stated = {"inputs": {"b": {"shape": [2]}, "a": {"data_types": {"numerical": {"size": [3]}}}}}
    specs = read_input_specs(stated, MAX_ELEMENTS)
    assert list(specs.items()) == [("b", InputSpec((2,))), ("a", InputSpec((3,)))]
    assert expected_inputs(specs).startswith("a map of b: [2] (float32), or [n, 2]")
    assert expected_inputs(ONE) == "[2] (float32), or [n, 2] for n examples"
    with pytest.raises(WireError, match="at most 4 numbers, got 5"):
        read_input_specs(stated, 4)


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        ([], r"input.inputs is \[\]; expected an object of 1 to 64 inputs"),
        ({}, "expected an object of 1 to 64 inputs"),
        ({str(n): {} for n in range(65)}, "expected an object of 1 to 64 inputs"),
        ({"a b": {}}, "input.inputs: the name 'a b'; expected 1 to 128 printable"),
        ({"a": 3}, "input.inputs.a is 3; expected an object"),
        ({"a": {"shape": [0]}}, r"input.inputs.a: input.shape is \[0\]"),
    ],
)
def test_inputs_that_a_spec_states_wrongly_are_refused(named: object, sentence: str) -> None:
    """At the push already, which reads them alike."""
    with pytest.raises(WireError, match=sentence):
        read_input_specs({"inputs": named}, MAX_ELEMENTS)


RANGED = {"inputs": InputSpec((2,), range=(0, 16))}
WARNED = {"inputs": InputSpec((2,), range=(0, 16), warns=True)}


def test_numbers_outside_the_range_of_training_are_refused() -> None:
    """Named and counted; rounding is forgiven."""
    sentence = "; this model takes numbers from 0 to 16, as in training"
    for value, place in (
        ([[1, 17]], "inputs[0][1] is 17"),
        ([-1, 2], "inputs[0] is -1"),
        ([[17, 1], [1, 18]], "inputs[0][0] is 17, and 1 more such number"),
        ([[17, 17], [1, 18]], "inputs[0][0] is 17, and 2 more such numbers"),
        (raw(np.array([[1, 17]], "<f4")), "inputs[0][1] is 17"),
    ):
        with pytest.raises(WireError) as caught:
            parse_inputs(value, RANGED, MAX_ELEMENTS)
        assert str(caught.value) == place + sentence
    assert parse_inputs([[0, 16.000001]], RANGED, MAX_ELEMENTS).rows == 1
    assert "[2] (float32, from 0 to 16)" in expected_inputs(RANGED)


def test_or_answered_with_a_warning() -> None:
    """As the model says."""
    found = parse_inputs([[1, 17]], WARNED, MAX_ELEMENTS)
    assert found.warnings == (
        "inputs[0][1] is 17; in training all were from 0 to 16, so the answer may be wrong",
    )
    assert parse_inputs([[1, 16]], WARNED, MAX_ELEMENTS).warnings == ()
    specs = {**TWO, "age": InputSpec((), "int32", range=(0, 130), warns=True)}
    (warning,) = parse_inputs({"image": [1, 2], "age": [200]}, specs, MAX_ELEMENTS).warnings
    assert warning.startswith("inputs.age[0] is 200; in training")
    stated = {"shape": [2], "range": [0, 16], "out_of_range": "warn"}
    assert read_input_specs(stated, MAX_ELEMENTS) == WARNED


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        ({"range": 3}, "input.range is 3; expected the lowest and the highest number"),
        ({"range": [0]}, "input.range is"),
        ({"range": [1, 1]}, "input.range is"),
        ({"range": ["0", "1"]}, "input.range is"),
        ({"range": [0, float("inf")]}, "input.range is"),
        ({"out_of_range": "ignore"}, "input.out_of_range is 'ignore'; expected refuse or warn"),
    ],
)
def test_a_range_that_is_none_is_refused(stated: dict[str, Any], sentence: str) -> None:
    """At the push."""
    with pytest.raises(WireError) as caught:
        read_input_specs(stated, MAX_ELEMENTS)
    assert sentence in str(caught.value)
