"""Statements of a caller about a model's input are checked at the push."""

import json
from pathlib import Path
from typing import Any

import pytest

from fedbus.client.model_inputs import InputTerms, complete_input, describe_inputs
from fedbus.client.model_source import prepare_model
from fedbus.errors import FedbusError, SettingsError, TrainingError
from fedbus.wire.documents import ModelSpec
from tests.fedbus.frameworks.model_files_data import FOLDER

STEPS = [{"id": "normalize", "parameters": {"high": 16}}]


def spec(**changes: Any) -> ModelSpec:  # noqa: ANN401 - fields of a spec
    """Describe a model of 64 numbers."""
    stated: dict[str, Any] = {"input": {"shape": [64], "dtype": "float32", "normalized": True}}
    return ModelSpec(model="m", layout=(), architectures={}, **(stated | changes))


def test_steps_come_from_a_file_or_as_json(tmp_path: Path) -> None:
    """As an agent's pipeline does."""
    file = tmp_path / "transformation_pipeline.json"
    file.write_text(json.dumps(STEPS))
    for given in (file, str(file), json.dumps(STEPS)):
        made = complete_input(spec(), InputTerms(preprocessing=given))
        assert made.preprocessing == tuple(STEPS)
        assert made.raw_input == {}


def test_a_range_is_that_of_raw_rows_where_there_are_steps() -> None:
    """Else of the model's own input."""
    said = InputTerms(range=(0, 1), out_of_range="warn")
    made = complete_input(spec(), said)
    assert made.input == {**spec().input, "range": [0, 1], "out_of_range": "warn"}
    raw = complete_input(
        spec(),
        InputTerms(preprocessing=json.dumps(STEPS), range=(0, 16), out_of_range="warn"),
    )
    assert raw.input == spec().input
    assert raw.raw_input == {"shape": [64], "range": [0, 16], "out_of_range": "warn"}
    image = {"x": {"data_types": {"image": {"size": [8, 8, 1], "normalized": True}}}}
    aeros = complete_input(
        spec(input=image), InputTerms(preprocessing=json.dumps(STEPS), range=(0, 16))
    )
    half = aeros.raw_input["x"]
    assert half == {
        "data_types": {"image": {"size": [8, 8, 1]}},
        "range": [0, 16],
    }


def test_a_stated_range_may_be_given_another_consequence() -> None:
    """Without repeating it."""
    stated = spec(input={"shape": [64], "range": [0, 16]})
    made = complete_input(stated, InputTerms(out_of_range="warn"))
    assert made.input == {"shape": [64], "range": [0, 16], "out_of_range": "warn"}


@pytest.mark.parametrize(
    ("said", "changes", "sentence"),
    [
        (InputTerms(out_of_range="ignore"), {}, "--out-of-range: expected refuse or warn"),
        (
            InputTerms(out_of_range="warn"),
            {},
            "--out-of-range: of which range? --range states",
        ),
        (
            InputTerms(range=(2, 1)),
            {},
            "input: input.range is [2, 1]; expected the lowest",
        ),
        (
            InputTerms(range=(0, 1)),
            {"input": {"inputs": {"a": {}}}},
            "--range: the model has several inputs",
        ),
        (
            InputTerms(range=(0, 16), out_of_range="warn"),
            {},
            "input is normalized to -1 to 1, and its range is 0 to 16; a range of raw rows needs",
        ),
        (
            InputTerms(preprocessing="{}"),
            {},
            "expected a list of objects with id and parameters",
        ),
        (
            InputTerms(preprocessing="[3]"),
            {},
            "expected a list of objects with id and parameters",
        ),
        (InputTerms(preprocessing="/nowhere"), {}, "/nowhere: No such file"),
        (InputTerms(raw_input="[]"), {}, "expected an object, as"),
        (
            InputTerms(raw_input='{"shape": [64]}'),
            {},
            "raw_input is what `preprocessing` starts",
        ),
        (
            InputTerms(preprocessing='[{"id": "flip"}]'),
            {},
            "transform 1 (flip) is an augmentation",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    said: InputTerms, changes: dict[str, Any], sentence: str
) -> None:
    """With the option, or the step."""
    with pytest.raises(FedbusError) as caught:
        complete_input(spec(**changes), said)
    assert sentence in str(caught.value)
    assert isinstance(caught.value, SettingsError | TrainingError)


def test_a_pushed_file_has_them_in_its_spec() -> None:
    """The blobs are those of the changed spec."""
    said = InputTerms(preprocessing=json.dumps(STEPS), range=(0, 16))
    packed = prepare_model(FOLDER / "plain.onnx", inputs=said)
    assert packed.spec().preprocessing == tuple(STEPS)
    assert packed.spec().raw_input["range"] == [0, 16]
    assert packed.push.spec.digest in packed.blobs
    assert len(packed.blobs) == 3


@pytest.mark.parametrize(
    ("stated", "lines"),
    [
        ({}, ("[64] float32, normalized",)),
        ({"input": {}}, ("rows of a shape that the spec does not state",)),
        ({"input": {"dtype": "int64"}}, ("any shape int64",)),
        (
            {"input": {"x": {"shape": [64], "range": [0, 16]}}},
            ("[64] float32, 0 to 16; inference refuses other numbers",),
        ),
        (
            {"input": {"shape": [2], "range": [-0.5, 0.5], "out_of_range": "warn"}},
            ("[2] float32, -0.5 to 0.5; inference answers other numbers with a warning",),
        ),
        (
            {"input": {"inputs": {"image": {"shape": [8, 8, 1]}, "age": {"shape": []}}}},
            ("image: [8, 8, 1] float32", "age: [] float32"),
        ),
        ({"input": {"shape": "any"}}, ('{"shape": "any"}',)),
    ],
)
def test_what_a_model_takes_is_described(stated: dict[str, Any], lines: tuple[str, ...]) -> None:
    """In a line for each input; a spec that cannot be read is shown as it is."""
    assert describe_inputs(spec(**stated)) == lines


def test_raw_rows_are_described_before_their_preprocessing() -> None:
    """A range is checked on raw rows only; without `raw_input` they have the model's shape."""
    steps = (*STEPS, {"id": "grey"})
    raw = {"shape": [8, 8, 3], "dtype": "uint8", "range": [0, 255]}
    own = {"x": {"shape": [64], "dtype": "float64", "range": [0, 1]}}
    then = ('then normalize {"high": 16}', "then grey", "then [64] float64")
    assert describe_inputs(spec(input=own, raw_input=raw, preprocessing=steps)) == (
        "[8, 8, 3] uint8, 0 to 255; inference refuses other numbers",
        *then,
    )
    assert describe_inputs(spec(input=own, preprocessing=steps)) == ("[64] float32", *then)
