"""Truths of classes in the layouts of people's files, read alike for all frameworks."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.errors import TrainingError
from fedbus.model.layout import Array
from fedbus.training.labels import check_binary_targets, class_targets, sample_classes

IDS = np.array([0, 2, 1, 2])
HOT = np.eye(3)[IDS]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, np.float16, np.float64])
@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_class_numbers_may_be_of_any_dtype_and_in_a_column(
    dtype: Any,  # noqa: ANN401 - a dtype
    shape: tuple[int, ...],
) -> None:
    """As numpy, pandas and Keras write them."""
    made = class_targets(IDS.astype(dtype).reshape(shape), (4,), 3)
    assert (made.tolist(), str(made.dtype)) == (IDS.tolist(), "int64")


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, np.float64])
def test_rows_with_a_one_at_the_class_may_be_of_any_dtype(dtype: Any) -> None:  # noqa: ANN401 - a dtype
    """And shares of classes are what they are, to a thousandth."""
    made = class_targets(HOT.astype(dtype), (4,), 3)
    assert (made.tolist(), str(made.dtype)) == (HOT.tolist(), "float32")
    smooth = HOT * 0.7 + 0.1
    np.testing.assert_allclose(class_targets(smooth, (4,), 3), smooth, rtol=1e-6)


def test_yes_and_no_are_classes_of_a_model_of_two() -> None:
    """Truth values are 0 and 1."""
    assert class_targets(np.array([True, False]), (2,), 2).tolist() == [1, 0]


def test_sequences_have_a_class_at_each_place() -> None:
    """As numbers, in a column, or as rows."""
    ids = np.arange(6).reshape(2, 3) % 4
    for y in (ids, ids[..., None]):
        assert class_targets(y, (2, 3), 4).tolist() == ids.tolist()
    assert class_targets(np.eye(4, dtype=bool)[ids], (2, 3), 4).shape == (2, 3, 4)
    assert class_targets(np.zeros((0, 3), int), (0, 3), 4).shape == (0, 3)
    assert class_targets(np.zeros((0, 3), int), (0,), 3).shape == (0, 3)


@pytest.mark.parametrize(
    ("y", "sentence"),
    [
        (np.array([1, 3]), r'1 to 3; a class is 0 to 2; .*"class-ids", "parameters": {"first": 1}'),
        (np.array([-1, 1]), r'-1 to 1; a class is 0 to 2; .*{"first": -1}'),
        (np.array([0, 7]), "y holds 0 to 7; a class is 0 to 2$"),
        (np.array([0, 1.5]), r"y holds 1\.5, which is no class number; a loss of quantities"),
        (np.array([0, np.nan]), "y holds nan, which is no class number"),
        (np.zeros((2, 10)), r"y is float64 \(2, 10\); .*rows of 10 classes, and the model has 3"),
        (np.zeros(3, int), r"y is int64 \(3,\); wanted are class numbers, \(2,\), or shares of"),
        (np.zeros((2, 3, 3)), r"y is float64 \(2, 3, 3\); wanted .*\(2, 3\)$"),
        (np.array(["a", "b"]), "expected class numbers in y, got <U1"),
        (np.array([[1, 1, 0], [0, 1, 0]]), r"a row of \[1, 1, 0\]: .*several labels .*binary"),
        (np.zeros((2, 3)), r"a row of \[0, 0, 0\]: a row holds one 1"),
        (np.array([[1.5, -0.5, 0], [0, 1, 0]]), r"a row of \[1.5, -0.5, 0\]"),
    ],
)
def test_what_is_no_class_of_the_model_is_refused_with_its_mend(y: Array, sentence: str) -> None:
    """A framework would crash on some of them, and quietly learn from the others."""
    with pytest.raises(TrainingError, match=sentence):
        class_targets(y, (2,), 3)


def test_many_classes_are_shown_in_part() -> None:
    """A row of a thousand shares is no sentence."""
    with pytest.raises(TrainingError, match=r"\[1, 1, 1, 1, 1, 1, 1, 1, …\]"):
        class_targets(np.ones((1, 9)), (1,), 9)


def test_yes_is_one_and_no_is_zero() -> None:
    """A loss of yes or no is meaningless beyond."""
    for y in (np.array([0, 1]), np.array([0.25, 0.5]), np.array([True]), np.zeros(0)):
        check_binary_targets(y, "binary_crossentropy")
    with pytest.raises(TrainingError, match=r'1 to 2; binary_crossentropy .*{"first": 1}'):
        check_binary_targets(np.array([1, 2]), "binary_crossentropy")
    with pytest.raises(
        TrainingError, match=r"-1 to 1; binary_crossentropy takes no as 0, yes as 1$"
    ):
        check_binary_targets(np.array([-1, 1]), "binary_crossentropy")


@given(st.integers(0, 2**32 - 1))
def test_classes_are_drawn_by_their_shares(seed: int) -> None:
    """So that a step which takes class numbers alone has the gradient of the shares in the mean."""
    rng = np.random.default_rng(seed)
    shares = np.array([0.2, 0.0, 0.5, 0.3], np.float32)
    drawn = sample_classes(np.tile(shares, (20_000, 1)), rng)
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 20_000, shares, atol=0.03)
    assert sample_classes(HOT.astype(np.float32), rng).tolist() == IDS.tolist()
    assert sample_classes(IDS, rng) is IDS
