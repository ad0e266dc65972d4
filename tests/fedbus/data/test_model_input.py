"""A spec's `input` has one reading, whether a push, an agent or inference asks."""

from typing import Any

import pytest

from fedbus.data.format import Field
from fedbus.data.model_input import ModelInput, read_input
from fedbus.errors import WireError

PICTURE = {"image": {"size": [8, 8, 1], "normalized": True}}


@pytest.mark.parametrize(
    ("stated", "found"),
    [
        ({}, ModelInput()),
        ({"x": 7}, ModelInput()),
        ({"dtype": "int32", "normalized": True}, ModelInput(dtype="int32", normalized=True)),
        (
            {"shape": [8, 8, 1], "dtype": "uint8"},
            ModelInput(row=Field(kind="image", size=(8, 8, 1), dtype="uint8"), dtype="uint8"),
        ),
        (
            {"x": {"data_types": PICTURE}},
            ModelInput(row=Field(kind="image", size=(8, 8, 1), normalized=True), normalized=True),
        ),
        (
            {"shape": [64], "data_types": PICTURE},
            ModelInput(row=Field(kind="numerical", size=(64,)), normalized=True),
        ),
    ],
)
def test_an_input_is_read_in_either_notation(stated: dict[str, Any], found: ModelInput) -> None:
    """A shape goes before aerOS's size; dtype and range may stand without either."""
    assert read_input(stated) == found


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        ({"shape": [1] * 9}, "input.shape is [1, 1, 1, 1, 1, 1, 1, 1, 1]; expected at most 8"),
        ({"shape": [True]}, "input.shape is [True]; expected at most 8 whole numbers above 0"),
        ({"dtype": "float31"}, "input.dtype is 'float31'; expected one of bool, float16"),
        (
            {"x": {"data_types": {"sound": {}}}},
            "input: expected data_types with one of categorical",
        ),
        ({"dtype": "f" * 9999}, "input.dtype is 'fff"),
    ],
)
def test_an_input_that_cannot_be_meant_is_refused(stated: dict[str, Any], sentence: str) -> None:
    """With its key and what was expected, however long the spec has it."""
    with pytest.raises(WireError) as refused:
        read_input(stated)
    assert str(refused.value).startswith(sentence)
    assert len(str(refused.value)) < 300
