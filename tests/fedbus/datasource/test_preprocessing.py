"""A model's preprocessing is an agent's pipeline without labels and chance."""

from typing import Any

import numpy as np
import pytest

from fedbus.datasource.pipeline import read_steps
from fedbus.datasource.preprocessing import Preprocessing, read_preprocessing
from fedbus.errors import FedbusError, PluginError, TrainingError

NORMALIZE = {"id": "normalize", "parameters": {"high": 16}}
INPUT = {"shape": [4], "normalized": True}
RAW = np.array([[0, 4, 8, 16], [1, 2, 3, 4]], np.float32)


def test_raw_rows_become_the_models_input() -> None:
    """By the code that an agent runs."""
    made = Preprocessing([NORMALIZE], {}, INPUT)
    np.testing.assert_array_equal(made.apply(RAW), RAW / 16)
    (step,) = read_steps([NORMALIZE])
    agents, _ = step.transform.transform_data((RAW, np.zeros(2)), np.random.default_rng(0))
    np.testing.assert_array_equal(made.apply(RAW), agents)
    assert made.raw.row is not None
    assert made.raw.row.size == (4,)
    assert not made.raw.row.normalized
    assert made.max_row_bytes == 4 * 4 + 8


def test_numbers_that_are_only_warned_of_may_leave_the_normalized_range() -> None:
    """The others may not: then the range does not fit the steps."""
    stated = {"shape": [4], "range": [0, 17], "out_of_range": "warn"}
    warned = Preprocessing([NORMALIZE], stated, INPUT)
    np.testing.assert_array_equal(warned.apply(RAW * 2), RAW / 8)
    for made, rows in (
        (warned, RAW + 1),
        (Preprocessing([NORMALIZE], {"shape": [4], "out_of_range": "warn"}, INPUT), RAW * 2),
        (Preprocessing([NORMALIZE], {"shape": [4], "range": [0, 16]}, INPUT), RAW * 2),
    ):
        with pytest.raises(TrainingError, match="declared as normalized"):
            made.apply(rows)


def test_raw_rows_may_have_another_shape_and_dtype() -> None:
    """A camera's bytes, say."""
    steps: list[dict[str, Any]] = [
        {"id": "resize", "parameters": {"size": [2, 2]}},
        {"id": "grayscale"},
        {"id": "normalize"},
        {"id": "reshape", "parameters": {"size": [4]}},
    ]
    raw = {"data_types": {"image": {"size": [4, 4, 3]}}, "dtype": "uint8"}
    made = Preprocessing(steps, raw, INPUT)
    bytes_ = np.full((1, 4, 4, 3), 255, np.uint8)
    np.testing.assert_allclose(made.apply(bytes_), np.ones((1, 4)), atol=1e-5)


@pytest.mark.parametrize(
    "step",
    [
        {"id": "one-hot", "parameters": {"classes": 10}},
        {"id": "class-ids", "parameters": {"first": 1}},
        {"id": "cast", "parameters": {"dtype": "float32", "of": "y"}},
        {"id": "reshape", "parameters": {"size": [1], "of": "y"}},
    ],
)
def test_steps_for_labels_are_left_out(step: dict[str, Any]) -> None:
    """So an agent's file serves as it is."""
    made = Preprocessing([step, NORMALIZE], {}, INPUT)
    np.testing.assert_array_equal(made.apply(RAW), RAW / 16)


@pytest.mark.parametrize(
    ("steps", "raw", "wanted", "sentence"),
    [
        ([{"id": "noise"}], {}, INPUT, "transform 1 (noise) is an augmentation, for training only"),
        (
            [{"id": "normalise"}],
            {},
            INPUT,
            "transform 1 (normalise): no transforms plug-in named 'normalise'; did you mean",
        ),
        (
            [{"id": "normalize", "parameters": {"hi": 2}}],
            {},
            INPUT,
            "transform 1 (normalize): no option 'hi'; did you mean 'high'?",
        ),
        (
            [{"id": "normalize", "parameters": {"high": 0}}],
            {},
            INPUT,
            "transform 1 (normalize): low is 0.0 and high 0: expected low below high",
        ),
        ([{"id": "grayscale"}], {}, INPUT, "transform 1 (grayscale): images"),
        ([{"id": "standardize"}], {}, INPUT, "its numbers go beyond -1 to 1"),
        (
            [{"id": "reshape", "parameters": {"size": [2, 2]}}],
            {},
            {"shape": [4]},
            "the model takes numerical 4 float32: a row is [2, 2], not [4]",
        ),
        ([NORMALIZE], {"dtype": "uint8"}, INPUT, "raw_input: expected the shape of a row"),
        ([NORMALIZE], {"shape": "a"}, INPUT, "raw_input: input.shape is 'a'"),
        ([NORMALIZE], {}, {}, "preprocessing needs the shape of a row"),
        ([NORMALIZE], {}, {"shape": 4}, "input: input.shape is 4"),
        ([NORMALIZE], {}, {"inputs": {"a": {}}}, "for models with one input, and this one has"),
        (
            [{"id": "resize", "parameters": {"size": [9000, 9000]}}],
            {"shape": [2, 2, 1]},
            {},
            "transform 1 (resize): a row of x has 324000000 bytes: expected 1 to 268435456",
        ),
    ],
)
def test_what_cannot_be_applied_is_refused_at_the_push(
    steps: list[dict[str, Any]], raw: dict[str, Any], wanted: dict[str, Any], sentence: str
) -> None:
    """Not at the first request."""
    with pytest.raises(FedbusError) as caught:
        Preprocessing(steps, raw, wanted)
    assert sentence.replace(" float32", "") in str(caught.value).replace(" float32", "")


def test_a_model_that_states_no_input_takes_what_the_steps_make() -> None:
    """Only the raw rows must have a shape."""
    made = Preprocessing([NORMALIZE], {"shape": [4]}, {})
    np.testing.assert_array_equal(made.apply(RAW), RAW / 16)


def test_a_step_that_fails_on_rows_is_named() -> None:
    """The caller learns which numbers it gave."""
    with pytest.raises(TrainingError, match=r"transform 1 \(normalize\): x holds 2"):
        Preprocessing([NORMALIZE], {}, INPUT).apply(RAW * 2)


def test_only_allowed_plug_ins_are_applied() -> None:
    """A spec comes from any user; built-in transforms are always allowed."""
    assert read_preprocessing([NORMALIZE], {}, INPUT, allowed=()) is not None
    with pytest.raises(PluginError):
        read_preprocessing([{"id": "nowhere"}], {}, INPUT, allowed=())


def test_without_steps_there_is_nothing_to_start_from() -> None:
    """A raw format alone is a slip."""
    assert read_preprocessing((), {}, {}) is None
    with pytest.raises(TrainingError, match="raw_input is what `preprocessing` starts from"):
        read_preprocessing((), {"shape": [4]}, {})
