"""Meaning and names of the outputs of a pushed model."""

from typing import Any

import numpy as np
import pytest

from fedbus.client.model_outputs import (
    NO_OUTPUT_OPTIONS,
    OutputOptions,
    complete_spec,
    describe_outputs,
    row_of,
)
from fedbus.errors import SettingsError, TrainingError
from fedbus.frameworks.exported import UNKNOWN_OUTPUT, OutputFacts, probe_output
from fedbus.model.layout import Array, Weights
from fedbus.wire.documents import ModelSpec, TensorSpec
from fedbus.wire.output_kinds import OutputKind

SPEC = TensorSpec(name="w", shape=(1,), dtype="float32")


def settled(spec: dict[str, Any], seen: OutputFacts, said: OutputOptions) -> tuple[Any, Any]:
    """Settle a spec."""
    spec.setdefault("architectures", {})
    complete_spec(spec, seen, said)
    return spec["answers"], spec.get("classes")


def test_a_persons_word_goes_first_and_what_is_seen_last() -> None:
    """Between them stand the spec, and an architecture of it."""
    seen = OutputFacts(answers="classes", output=(2,))
    both: dict[str, Any] = {"answers": "labels"}
    of_architecture = {"architectures": {"torch": {"name": "net", "answers": "values"}}}
    assert settled({**both}, seen, OutputOptions(answers="values")) == ("values", None)
    assert settled({**both}, seen, NO_OUTPUT_OPTIONS) == ("labels", None)
    assert settled(of_architecture, seen, NO_OUTPUT_OPTIONS) == ("values", None)
    assert of_architecture["architectures"]["torch"] == {"name": "net"}
    assert settled({}, seen, NO_OUTPUT_OPTIONS) == ("classes", None)
    assert settled({}, UNKNOWN_OUTPUT, NO_OUTPUT_OPTIONS) == (None, None)


def test_names_of_classes_are_checked_wherever_they_come_from() -> None:
    """A spec's as much as those of the command."""
    seen = OutputFacts(answers="classes", output=(2,))
    assert settled({}, seen, OutputOptions(classes=("a", "b"))) == ("classes", ["a", "b"])
    assert settled({"classes": ["a", "b"]}, seen, NO_OUTPUT_OPTIONS) == ("classes", ["a", "b"])
    with pytest.raises(SettingsError, match="3 names, and the model has 2 outputs"):
        settled({"classes": ["a", "b", "c"]}, seen, NO_OUTPUT_OPTIONS)


@pytest.mark.parametrize(
    ("stated", "row"),
    [
        ({"shape": [3]}, (3,)),
        ({"data_types": {"image": {"size": [2, 2, 1]}}}, (2, 2, 1)),
        ({"data_types": {"numerical": {"size": [64]}}}, (64,)),
        ({"data_types": {"categorical": {"size": [5]}}}, (5,)),
        ({"shape": [0]}, None),
        ({"shape": 3}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_spec_says_what_a_row_is(stated: object, row: tuple[int, ...] | None) -> None:
    """In its own words or in those of aerOS; otherwise it is unknown."""
    assert row_of(stated) == row


def spec(answers: OutputKind | None, *classes: str) -> ModelSpec:
    """Make a spec."""
    return ModelSpec(model="m", layout=(SPEC,), architectures={}, answers=answers, classes=classes)


def test_what_a_model_answers_is_said_in_a_line() -> None:
    """With its first classes, and, where it was derived, with the option that changes it."""
    assert describe_outputs(spec("values")) == "values"
    assert describe_outputs(spec("values"), derived=True) == (
        "values (quantities; --answers says otherwise)"
    )
    assert describe_outputs(spec("classes", "a", "b")) == "classes: a, b"
    many = spec("classes", *map(str, range(12)))
    assert describe_outputs(many) == "classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
    assert describe_outputs(spec(None)) == "numbers whose meaning is not known"
    pushed = describe_outputs(spec(None), derived=True)
    assert pushed == "numbers whose meaning is not known; pass --answers"


class Runtime:
    """Predicts the sum of each row, as a plug-in may."""

    def load(self, weights: Weights) -> None: ...

    def predict(self, inputs: Array) -> Array:
        if inputs.shape[1:] != (3,):
            raise TrainingError("three numbers belong there")
        sums: Array = inputs.sum(axis=1, keepdims=True)
        return sums


class Knowing(Runtime):
    """One that says its last operation and its loss."""

    output_activation = "sigmoid"
    declared_loss = "binary_crossentropy"


class Several(Runtime):
    """One with two outputs."""

    def predict(self, inputs: Array) -> Any:  # noqa: ANN401 - what a framework may answer
        return {"a": np.zeros(len(inputs)), "b": np.zeros(len(inputs))}


def test_a_model_is_looked_at_by_what_it_answers() -> None:
    """As far as it can be tried, and as far as it says what it is."""
    assert probe_output(Runtime(), (3,)) == OutputFacts(output=(1,))
    assert probe_output(Knowing(), (3,)) == OutputFacts(answers="probabilities", output=(1,))
    assert probe_output(Several(), (3,)) == OutputFacts(several=("a", "b"))
    for trainer, row in ((Runtime(), None), (Runtime(), (2,)), (object(), (3,))):
        assert probe_output(trainer, row) == UNKNOWN_OUTPUT
