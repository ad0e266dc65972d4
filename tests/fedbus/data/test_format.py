"""Formats are read, written and compared."""

from typing import Any

import numpy as np
import pytest

from fedbus.data import Batch, Field, Format, describe, format_of, from_arrays
from fedbus.data.description import DatasetInfo
from fedbus.data.format import axes_of, check_batch, differences
from fedbus.data.format_reader import read_field, read_format
from fedbus.errors import TrainingError

IMAGE = Field(kind="image", size=(2, 2, 1), dtype="float32", normalized=True, axes="channels-last")
CLASS = Field(kind="categorical", size=(), dtype="int64")


def axes_said(axes: str, **more: object) -> dict[str, Any]:
    """Write one half of a format of images."""
    return {"data_types": {"image": {"size": [2, 2, 1], "axes": axes, **more}}}


def test_names_are_written_read_and_compared() -> None:
    """Of classes in y, of inputs in x; a long list is announced by its digest."""
    info = DatasetInfo(classes=("ok", "scrap"), columns=("t", "p"))
    form = format_of(from_arrays(np.ones((2, 2)), np.array([0, 1]), info=info))
    assert (form.y.classes, form.x.columns) == (info.classes, info.columns)
    again = read_format(form.plain())
    assert (again.x.columns, again.y.classes) == (form.x.columns, form.y.classes)
    other = Field(kind="categorical", size=(), classes=("scrap", "ok"))
    assert differences(form.y, other) == ["its classes are ok, scrap, not scrap, ok"]
    assert differences(form.y, Field(kind="categorical", size=())) == []
    many = Field(kind="categorical", size=(), classes=tuple(map(str, range(100))))
    assert many.plain()["data_types"]["categorical"]["classes"]["count"] == 100


def test_channels_are_told_from_sides_by_their_number() -> None:
    """1, 3 or 4 of them; where both ends could be channels, loaders have them last."""
    for size, axes in (
        ((3, 8, 8), "channels-first"),
        ((8, 8, 3), "channels-last"),
        ((3, 8, 3), "channels-last"),
        ((8, 8, 8), "channels-last"),
    ):
        assert axes_of(Field(kind="image", size=size)) == axes
    assert axes_of(Field(kind="numerical", size=(3, 8, 8))) == ""
    assert axes_of(Field(kind="image", size=(8, 8))) == ""


def test_a_format_is_what_was_written() -> None:
    """But for a bare number, which aerOS writes as [1]."""
    data = from_arrays(np.ones((3, 2, 2, 1), np.float32), np.zeros(3, np.int64))
    form = read_format(describe(data))
    assert form.x == IMAGE
    assert form.y == Field(kind="categorical", size=(1,), dtype="int64")
    assert form.plain() == describe(data)
    assert read_field("x", {"data_types": {"numerical": {"size": [3]}}}).plain() == {
        "data_types": {"numerical": {"size": [3], "normalized": False}}
    }
    assert (str(IMAGE), str(CLASS)) == (
        "image 2 x 2 x 1 (height, width, channels) float32",
        "categorical 1 int64",
    )


@pytest.mark.parametrize(
    ("plain", "sentence"),
    [
        ([], 'an object with "x" and "y"'),
        ({"x": {}, "y": {}}, "x: expected data_types with one of categorical, image, numerical"),
        ({"x": {"data_types": {"image": {}, "numerical": {}}}, "y": {}}, "x: expected data_types"),
        ({"x": {"data_types": {"image": {}}}, "y": {}}, "x.image.size is None"),
        ({"x": {"data_types": {"image": {"size": [2, 0]}}}, "y": {}}, r"size is \[2, 0\]"),
        ({"x": {"data_types": {"image": {"size": [1] * 9}}}, "y": {}}, "at most 8"),
        (
            {"x": {"data_types": {"image": {"size": [1], "dtype": "object"}}}, "y": {}},
            "x.image.dtype is 'object': expected bool, ",
        ),
        (
            {"x": {"data_types": {"image": {"size": [1], "dtype": []}}}, "y": {}},
            r"dtype is \[\]: expected",
        ),
        (
            {"x": {"data_types": {"image": {"size": [1], "normalized": "no"}}}, "y": {}},
            "normalized is 'no': expected true or false",
        ),
        ({"x": axes_said("depth-first"), "y": {}}, "axes is 'depth-first': expected channels-f"),
        ({"x": axes_said("", columns=["a", "a"]), "y": {}}, "x.image.columns: expected a list of"),
        ({"x": axes_said("", columns="ab"), "y": {}}, "x.image.columns: expected a list of"),
        ({"x": axes_said("", columns=["a" * 129]), "y": {}}, "each of at most 128 characters"),
    ],
)
def test_a_format_that_is_none_says_why(plain: object, sentence: str) -> None:
    """And where."""
    with pytest.raises(TrainingError, match=sentence):
        read_format(plain)


def test_all_differences_are_told() -> None:
    """What was not asked for is no difference."""
    assert differences(IMAGE, IMAGE) == []
    assert differences(IMAGE, Field(kind="image", size=(2, 2, 1))) == []
    assert differences(CLASS, Field(kind="categorical", size=(1,))) == []
    assert differences(CLASS, IMAGE) == [
        "it is categorical, not image",
        "a row is [1], not [2, 2, 1]",
        "it is int64, not float32",
        "its numbers go beyond -1 to 1 (a normalize step may be missing)",
    ]


def test_a_batch_is_held_against_its_declaration() -> None:
    """Shape, dtype and range."""
    form = Format(x=IMAGE, y=CLASS)
    x, y = np.ones((3, 2, 2, 1), np.float32), np.zeros(3, np.int64)
    check_batch((x, y), form)
    check_batch((x[:0], y[:0]), form)
    wrong: list[tuple[Batch, str]] = [
        ((x[:2], y), "2 rows of x and 3 of y"),
        ((x[:, 0], y), r"x is float32 \('rows', 2, 1\), declared as image 2 x 2 x 1 .* float32"),
        ((x, y.astype(np.int32)), "y is int32"),
        ((x * 2, y), r"x holds 2, declared as normalized \(-1 to 1\)"),
    ]
    for bad, sentence in wrong:
        with pytest.raises(TrainingError, match=sentence):
            check_batch(bad, form)
