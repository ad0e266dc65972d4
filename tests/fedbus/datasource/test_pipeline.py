"""Transforms in their order: rows and format change together, and a fault names its step."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.data import Batch, Dataset, Field, Format, format_of, from_arrays
from fedbus.data.transforms.numbers import Cast
from fedbus.datasource.pipeline import (
    Pipeline,
    PipelineStep,
    read_pipeline,
    read_steps,
    without_augmentations,
)
from fedbus.errors import PluginError, TrainingError
from fedbus.training.params import TrainingParams
from tests.plugin_package import Install

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (6, 8, 6, 3)).astype(np.float32)
CLASSES = np.array([0, 1, 2, 0, 1, 2])


def pictures() -> Dataset:
    """Make six pictures of three classes."""
    return from_arrays(PICTURES, CLASSES, batch=4)


def step(name: str, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401 - as a file has them
    """Write a step."""
    return {"id": name, "parameters": parameters}


def through(data: Dataset, *steps: dict[str, Any]) -> tuple[Batch, Format]:
    """Take a data set's rows through steps."""
    pipeline = Pipeline(read_steps(list(steps)), format_of(data))
    parts = list(data.transformed(pipeline.apply).batches())
    whole = np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])
    return whole, pipeline.output


def test_a_pipeline_changes_rows_and_format_alike() -> None:
    """From pictures to what a small model takes."""
    (x, y), form = through(
        pictures(),
        step("grayscale"),
        step("resize", size=[4, 4]),
        step("normalize"),
        step("reshape", size=[16]),
        step("cast", dtype="float64"),
        step("one-hot", classes=3),
    )
    assert form.x == Field(kind="numerical", size=(16,), dtype="float64", normalized=True)
    assert form.y == Field(kind="categorical", size=(3,), dtype="float32", normalized=True)
    assert (x.shape, x.dtype.name, y.dtype.name) == ((6, 16), "float64", "float32")
    assert y.argmax(axis=1).tolist() == CLASSES.tolist()
    assert 0.2 < x.mean() < 0.8


def test_each_transform_does_what_its_name_says() -> None:
    """To the number."""
    (x, _), form = through(pictures(), step("normalize", low=-1, high=255))
    np.testing.assert_allclose(x, (PICTURES + 1) / 256, rtol=1e-6)
    assert form.x.normalized
    (x, _), form = through(pictures(), step("standardize", mean=[1, 2, 3], std=[4, 5, 6]))
    np.testing.assert_allclose(x, (PICTURES - [1, 2, 3]) / [4, 5, 6], rtol=1e-5)
    assert not form.x.normalized
    (x, _), _ = through(pictures(), step("grayscale"))
    np.testing.assert_allclose(x[..., 0], PICTURES @ [0.299, 0.587, 0.114], rtol=1e-5)
    (x, _), _ = through(pictures(), step("cast", dtype="uint8"))
    halves = from_arrays(np.full((2, 3), 1.6, np.float32), CLASSES[:2])
    rounded, _ = through(halves, step("cast", dtype="uint8", rounded=True))
    assert (rounded[0] == 2).all()
    assert (x.dtype.name, x.tolist()) == ("uint8", PICTURES.tolist())
    (_, y), form = through(pictures(), step("cast", dtype="int32", of="y"))
    assert (y.dtype.name, form.y.dtype) == ("int32", "int32")
    (_, y), form = through(pictures(), step("reshape", size=[1], of="y"))
    assert (y.shape, form.y.kind) == ((6, 1), "categorical")
    flat = from_arrays(PICTURES.reshape(6, -1), CLASSES)
    assert through(flat, step("reshape", size=[8, 6, 3]))[1].x.kind == "image"


@pytest.mark.parametrize("size", [(8, 6), (4, 3), (13, 9), (5, 5), (1, 1), (16, 12)])
def test_images_are_resized_as_pillow_does_it(size: tuple[int, int]) -> None:
    """Larger and smaller; what shrinks is averaged, not picked."""
    image = pytest.importorskip("PIL.Image")
    (x, _), form = through(pictures(), step("resize", size=list(size)))
    assert form.x.size == (*size, 3)
    channel = image.fromarray(PICTURES[0, :, :, 1], mode="F")
    expected = np.asarray(channel.resize(size[::-1], image.Resampling.BILINEAR))
    np.testing.assert_allclose(x[0, :, :, 1], expected, atol=1e-3)


def test_flips_and_crops_move_pixels_and_lose_their_row_never() -> None:
    """Every row remains its own picture."""
    (x, y), form = through(pictures(), step("flip", horizontal=1, vertical=1))
    np.testing.assert_array_equal(x, PICTURES[:, ::-1, ::-1])
    assert form == format_of(pictures())
    assert y.tolist() == CLASSES.tolist()
    (x, _), _ = through(pictures(), step("flip", horizontal=0))
    np.testing.assert_array_equal(x, PICTURES)
    (x, _), _ = through(pictures(), step("crop", padding=2))
    padded = np.pad(PICTURES, ((0, 0), (2, 2), (2, 2), (0, 0)))
    for row in range(6):
        windows = [padded[row, t : t + 8, s : s + 6] for t in range(5) for s in range(5)]
        assert any(np.array_equal(x[row], window) for window in windows)
    (x, _), _ = through(pictures(), step("crop", padding=4096))  # without 800 MB of padding
    assert x.shape == PICTURES.shape


def test_noise_is_cut_where_its_owner_says_so() -> None:
    """Only then are normalized numbers still normalized."""
    (x, _), form = through(pictures(), step("normalize"), step("noise", std=5, low=0, high=1))
    assert form.x.normalized
    assert (x.min(), x.max()) == (0, 1)
    (x, _), form = through(pictures(), step("noise", std=2))
    assert not form.x.normalized
    assert 1 < (x - PICTURES).std() < 3


@given(seed=st.integers(0, 2**53), batch=st.integers(1, 7))
def test_augmentations_are_those_of_the_seed_and_the_epoch(seed: int, batch: int) -> None:
    """A task that is done again sees the same rows, whatever happened between."""
    noisy = Pipeline(read_steps([step("flip"), step("noise", std=1)]), format_of(pictures()))
    data = pictures().transformed(noisy.apply)
    params = TrainingParams(seed=seed, epochs=2, batch_size=batch)
    first, again = ([x for x, _ in data.steps(params)] for _ in range(2))
    assert all(map(np.array_equal, first, again))
    half = len(first) // 2
    assert not all(map(np.array_equal, first[:half], first[half:]))
    plain = np.concatenate([y for _, y in pictures().steps(params)])
    assert np.concatenate([y for _, y in data.steps(params)]).tolist() == plain.tolist()


def test_evaluation_leaves_augmentations_out() -> None:
    """They are of use in training only."""
    steps = read_steps([step("flip"), step("normalize"), step("crop"), step("noise")])
    assert [s.name for s in without_augmentations(steps)] == ["transform 2 (normalize)"]


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        (
            [step("reshape", size=[7])],
            r"transform 1 \(reshape\): image .* has 144 numbers, \[7\] 7",
        ),
        ([step("grayscale"), step("grayscale")], r"transform 2 \(grayscale\): 3 channels"),
        ([step("reshape", size=[144]), step("resize", size=[2, 2])], r"2 \(resize\): images"),
        ([step("reshape", size=[144]), step("flip")], r"2 \(flip\): images"),
        ([step("reshape", size=[144]), step("crop")], r"2 \(crop\): images"),
        ([step("resize", size=[2**20, 2**20])], "a row of x has"),
        ([step("resize", size=[1, 2**22])], "from 6 to 4194304 pixels in one step is too far"),
        ([step("standardize", mean=[1, 2])], "mean has 2 numbers; the last axis"),
        ([step("one-hot", classes=3, of="x")], "one number in each row is taken"),
        ([step("normalize", high=1)], r"transform 1 \(normalize\): x holds 25\d, declared as norm"),
        ([step("one-hot", classes=2)], "y holds 0 to 2; a class is 0 to 1"),
        ([step("cast", dtype="int8")], "x holds 0.0 to 25.*; int8 takes -128 to 127"),
    ],
)
def test_a_step_that_cannot_take_what_it_is_given_is_named(
    steps: list[dict[str, Any]], sentence: str
) -> None:
    """Before training where its declaration tells, at its first batch otherwise."""
    with pytest.raises(TrainingError, match=sentence):
        through(pictures(), *steps)


def test_numbers_beyond_a_dtype_are_no_infinity() -> None:
    """And classes that are not whole are none."""
    big = from_arrays(np.full((2, 1), 1e6, np.float32), np.array([0.5, 1], np.float32))
    with pytest.raises(TrainingError, match="x holds more than float16 can"):
        through(big, step("cast", dtype="float16"))
    with pytest.raises(TrainingError, match="y holds numbers that are not whole"):
        through(big, step("one-hot", classes=3))


@pytest.mark.parametrize(
    ("number", "dtype", "sentence"),
    [
        (0.9, "uint8", r"x holds 0\.9; uint8 takes whole numbers alone"),
        (-1.5, "int64", r"x holds -1\.5; int64 takes whole"),
        (float("nan"), "int32", "x holds nan; int32 takes whole"),
        (2.0**63, "int64", r"x holds 9\.22\d*e\+18; int64 takes"),
        (2, "bool", r"x holds 2\.0; bool takes 0 and 1 alone"),
    ],
)
def test_no_part_of_a_number_is_lost_in_silence(number: float, dtype: str, sentence: str) -> None:
    """The first that would lose one is named."""
    x = np.array([[1, 0], [0, number], [0.5, 1]], np.float32)
    with pytest.raises(TrainingError, match=sentence):
        Cast(dtype).transform_data((x, CLASSES[:3]), np.random.default_rng(0))
    (kept, _) = Cast(dtype).transform_data((x[:1], CLASSES[:1]), np.random.default_rng(0))
    assert (kept.dtype.name, kept.tolist()) == (dtype, [[1, 0]])


@pytest.mark.parametrize(
    ("plain", "sentence"),
    [
        ({}, "a list of at most 64 objects"),
        ([{}] * 65, "a list of at most 64 objects"),
        (["flip"], "transform 1: expected an object with id and parameters, got 'flip'"),
        ([{"id": "flip", "params": {}}], "transform 1: expected an object"),
        (
            [{"id": "flip", "parameters": []}],
            r"\(flip\): expected an object of parameters, got \[\]",
        ),
        ([{"id": "flip"}, {"id": "nope"}], r"2 \(nope\): no transforms plug-in .*cast"),
        ([step("resize")], r"\(resize\): missing a required argument: 'size'; it takes size"),
        ([step("grayscale", size=3)], r"no option 'size'; it takes nothing"),
        ([step("normalize", hi=255)], r"no option 'hi'; did you mean 'high'\? it takes low, high"),
        ([step("resize", size=[2])], r"size is \[2\]: expected 2 whole numbers above 0"),
        ([step("reshape", size=[])], r"size is \[\]: expected 1 to 8 whole numbers"),
        ([step("reshape", size=[2], of="z")], "of is 'z': expected x or y"),
        ([step("normalize", low=3, high=2)], "expected low below high"),
        (
            [step("normalize", low="a")],
            r"transform 1 \(normalize\): .* and 'str'; its parameters are low: 'a'",
        ),
        ([step("standardize", std=0)], "std above 0"),
        ([step("standardize", std=float("inf"))], "std is inf"),
        ([step("standardize", mean="a")], "mean and std: "),
        ([step("one-hot", classes=1)], "classes is 1: expected 2 to"),
        ([step("cast", dtype="object")], "dtype is 'object': expected bool, float16"),
        ([step("flip", vertical=2)], "vertical is 2: expected a probability"),
        ([step("crop", padding=0)], "padding is 0: expected 1 to 4096"),
        ([step("noise", std=-1)], "std is -1"),
    ],
)
def test_a_pipeline_that_cannot_be_made_says_why(plain: object, sentence: str) -> None:
    """And which step it is."""
    with pytest.raises((TrainingError, PluginError), match=sentence):
        read_steps(plain)


def test_a_file_of_steps_is_named_in_its_faults(tmp_path: Path) -> None:
    """A missing one, one that is no JSON, one with a bad step."""
    file = tmp_path / "pipeline.json"
    with pytest.raises(TrainingError, match=r"pipeline\.json: No such file"):
        read_pipeline(file)
    file.write_text("[")
    with pytest.raises(TrainingError, match=r"pipeline\.json: not JSON"):
        read_pipeline(file)
    file.write_text('[{"id": "nope"}]')
    with pytest.raises(PluginError, match=r"pipeline\.json: transform 1 \(nope\)"):
        read_pipeline(file)
    file.write_text(json.dumps([step("flip")]))
    assert [s.name for s in read_pipeline(file)] == ["transform 1 (flip)"]


def test_a_model_that_takes_something_else_is_told_what_each_step_makes() -> None:
    """So that its author sees which step is wrong, or missing."""
    pipeline = Pipeline(read_steps([step("grayscale"), step("normalize")]), format_of(pictures()))
    pipeline.check_input(Field(kind="image", size=(8, 6, 1), normalized=True))
    axes = r"\(height, width, channels\) float32"
    with pytest.raises(
        TrainingError,
        match=r"the model takes numerical 64: it is image, not numerical; a row is \[8, 6, 1\], "
        rf"not \[64\] \(the data are image 8 x 6 x 3 {axes}, transform 1 \(grayscale\) makes image "
        rf"8 x 6 x 1 {axes}, transform 2 \(normalize\) makes image 8 x 6 x 1 {axes}\)",
    ):
        pipeline.check_input(Field(kind="numerical", size=(64,)))


def test_channels_go_to_the_front_and_back() -> None:
    """As PyTorch has them; steps that know images by their last axis refuse them then."""
    (x, _), form = through(pictures(), step("channels-first"))
    assert (x.shape, form.x.size, form.x.axes) == ((6, 3, 8, 6), (3, 8, 6), "channels-first")
    np.testing.assert_array_equal(x[:, 1], PICTURES[..., 1])
    (x, _), form = through(pictures(), step("channels-first"), step("channels-last"))
    np.testing.assert_array_equal(x, PICTURES)
    assert form.x.axes == "channels-last"
    first = from_arrays(np.moveaxis(PICTURES, -1, 1), CLASSES)
    assert str(format_of(first).x) == "image 3 x 8 x 6 (channels, height, width) float32"
    for data, steps, sentence in (
        (pictures(), ["channels-first", "flip"], r"transform 2 \(flip\): .* a step channels-last"),
        (first, ["channels-first"], r"not image 3 x 8 x 6 \(channels, height, width\)"),
        (pictures(), ["channels-last"], "the channels of .* are last already"),
        (from_arrays(np.ones((2, 4)), np.ones(2)), ["channels-last"], "not numerical 4"),
    ):
        with pytest.raises(TrainingError, match=sentence):
            through(data, *map(step, steps))
    for have, want, mend in (
        (pictures(), (3, 8, 6), "channels-first"),
        (first, (8, 6, 3), "channels-last"),
    ):
        with pytest.raises(TrainingError, match=rf'the transform "{mend}" moves them'):
            Pipeline([], format_of(have)).check_input(Field(kind="image", size=want))


def test_class_ids_are_made_of_whatever_way_classes_are_written() -> None:
    """Ids from 1, of any dtype, in a column, or one-hot rows of any dtype."""
    ids = np.array([0, 2, 1])
    rows = np.zeros((3, 1), np.float32)
    for y, options in (
        (ids, {}),
        (ids.astype(np.float64), {}),
        (ids[:, None].astype(np.float32), {}),
        (ids[:, None] + 1, {"first": 1}),
        (np.eye(3, dtype=bool)[ids], {}),
        (np.eye(3, dtype=np.uint8)[ids], {}),
        (np.eye(3, dtype=np.float32)[ids], {}),
        (np.eye(3)[ids] * 0.7 + 0.1, {"nearest": True}),
    ):
        (_, made), form = through(from_arrays(rows, y), step("class-ids", **options))
        assert (made.tolist(), str(made.dtype)) == (ids.tolist(), "int64")
        assert form.y == Field(kind="categorical", size=(), dtype="int64")
    wrong: list[tuple[Any, dict[str, Any], str]] = [
        (ids, {"first": 1}, "y holds 0, expected class numbers from 1"),
        (ids + 0.5, {}, "y holds 0.5, which is no class number"),
        (np.eye(3)[ids] * 0.7 + 0.1, {}, r'y\[0\] is \[0.7.*"nearest": true'),
        (np.ones((3, 2)), {}, r"y\[0\] is \[1.0, 1.0\], not one 1 among zeros"),
        (np.ones((3, 2, 2)), {}, "one number or one row of shares is taken"),
        (ids, {"first": "1"}, "first is '1'"),
    ]
    for y, options, sentence in wrong:
        with pytest.raises(TrainingError, match=sentence):
            through(from_arrays(rows, y), step("class-ids", **options))


class Wrong:
    """A third-party transform with a choice of mistakes."""

    def __init__(self, mistake: str) -> None:
        self.mistake = mistake

    def transform_data(self, batch: Batch, _rng: np.random.Generator) -> Batch:
        x, y = batch
        match self.mistake:
            case "raises":
                raise KeyError("lost")
            case "dtype":
                return x.astype(np.float64), y
            case "rows":
                return x[:1], y[:1]
            case _:
                return x, y

    def transform_format(self, form: Format) -> Format:
        match self.mistake:
            case "format raises":
                raise ZeroDivisionError("by zero")
            case "format":
                return form.plain()  # type: ignore[return-value] # the mistake
            case _:
                return replace(form)


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ("raises", "it: KeyError: 'lost'"),
        ("dtype", "it: x is float64"),
        ("rows", "it: expected 4 rows, got 1"),
        ("format", "it: expected a Format of transform_format, got a dict"),
        ("format raises", "it: ZeroDivisionError: by zero"),
    ],
)
def test_a_mistake_of_a_third_party_transform_is_reported(mistake: str, sentence: str) -> None:
    """Whatever it raises, or gives."""

    def run(data: Dataset) -> None:
        pipeline = Pipeline([PipelineStep("it", Wrong(mistake))], format_of(data))
        list(data.transformed(pipeline.apply).batches())

    with pytest.raises(TrainingError, match=sentence):
        run(pictures())


def test_a_transform_of_others_needs_permission(install: Install) -> None:
    """As every plug-in of a device does."""
    source = (
        "class Same:\n"
        "    def transform_data(self, batch, rng): return batch\n"
        "    def transform_format(self, form): return form\n"
    )
    install("acme_same", "[fedbus.transforms]\nsame = acme_same:Same", source)
    assert through(pictures(), step("same"))[1] == format_of(pictures())
    with pytest.raises(PluginError, match="not allowed here"):
        read_steps([step("same")], allowed=())
    install("acme_c", "[fedbus.transforms]\nbuilt-in = builtins:dict", "")
    made: object = read_steps([step("built-in", a=1)])[0].transform
    assert made == {"a": 1}
