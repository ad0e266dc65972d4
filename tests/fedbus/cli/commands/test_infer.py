"""Requests made of files."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from fedbus.cli.commands.infer import encode_file
from fedbus.cli.inputs.infer_rows import normalized_in, read_images, read_rows
from fedbus.cli.output.prediction_text import print_answer
from fedbus.client.failures import Failed
from fedbus.client.inference import JSON, MSGPACK, array_of, decode, raw
from fedbus.errors import SettingsError
from fedbus.wire.documents import ModelSpec, TensorSpec


def test_an_array_crosses_as_its_bytes(tmp_path: Path) -> None:
    """Whatever byte order and strides it had on disk."""
    array = np.arange(6, dtype=">f4").reshape(2, 3).T
    np.save(tmp_path / "x.npy", array)
    payload, kind = encode_file(tmp_path / "x.npy")
    sent = msgpack.unpackb(payload)["inputs"]
    assert (kind, sent["dtype"], sent["shape"]) == (MSGPACK, "float32", [3, 2])
    np.testing.assert_array_equal(array_of(sent), array)


@pytest.mark.parametrize("said", [[[1, 2]], {"inputs": [[1, 2]]}])
def test_json_may_leave_out_the_wrapping(tmp_path: Path, said: object) -> None:
    """People have lists."""
    (tmp_path / "x.json").write_text(json.dumps(said))
    payload, kind = encode_file(tmp_path / "x.json")
    assert (kind, json.loads(payload)) == (JSON, {"inputs": [[1, 2]]})


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("x.json", b"{", "expected JSON, or the suffix of an array"),
        ("x.json", b"{}", 'expected {"inputs"'),
        ("x.json", b"3", 'expected {"inputs"'),
        ("x.npy", b"", "has no readable array"),
        ("x.npy", b"\x93NUMPY", "has no readable array"),
        ("x.npz", b"PK\x03\x04", "has no readable array"),
        ("x.csv", b"\n", "has no rows"),
        ("x.csv", b"a,b\n", "has no rows of numbers"),
        ("x.csv", b"1,2\n3\n", "row 2: expected 2 cells as in row 1, got 1"),
        ("x.csv", b"1,2\n3,red\n", "row 2, column 2: expected a finite number, got 'red'"),
        ("x.csv", b"1,nan\n", "row 1, column 2: expected a finite number, got 'nan'"),
    ],
)
def test_a_file_without_inputs_is_refused_at_home(
    tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    """Nothing is sent."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SettingsError, match=sentence):
        encode_file(tmp_path / name)


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    """With its name."""
    with pytest.raises(SettingsError, match=r"nowhere\.json: No such file or directory$"):
        encode_file(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", "width,height\n1,2.5\n\n3,4\n"),
        ("x.csv", "1;2.5\n3;4"),
        ("x.tsv", "\ufeffa\tb\n1\t2.5\n3\t4\n"),
    ],
)
def test_a_table_is_rows_of_numbers(tmp_path: Path, name: str, content: str) -> None:
    """With names above them or not, and whatever delimits them."""
    (tmp_path / name).write_text(content)
    assert read_rows(tmp_path / name).tolist() == [[1, 2.5], [3, 4]]


def test_an_archive_gives_x_or_what_is_asked_for(tmp_path: Path) -> None:
    """As `fedbus data split` writes them, and as others do."""
    np.savez(tmp_path / "a.npz", x=np.ones(2), y=np.zeros(2))
    np.savez(tmp_path / "b.npz", rows=np.ones(2))
    assert read_rows(tmp_path / "a.npz").tolist() == [1, 1]
    assert read_rows(tmp_path / "a.npz", "y").tolist() == [0, 0]
    assert read_rows(tmp_path / "b.npz").tolist() == [1, 1]
    payload, kind = encode_file(tmp_path / "b.npz")
    assert (kind, msgpack.unpackb(payload)["inputs"]["shape"]) == (MSGPACK, [2])
    with pytest.raises(SettingsError, match="no array 'z'; --key takes one of x, y"):
        read_rows(tmp_path / "a.npz", "z")
    with pytest.raises(SettingsError, match=r"nowhere\.npz: No such file"):
        read_rows(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("beside", [np.array(["apple", "pear"]), np.ones(2, complex)])
def test_what_lies_beside_the_array_is_not_read(tmp_path: Path, beside: Any) -> None:  # noqa: ANN401
    """Shards name their classes and columns in words."""
    np.savez(tmp_path / "a.npz", x=np.ones(2), y=np.zeros(2), classes=beside)
    assert read_rows(tmp_path / "a.npz").tolist() == [1, 1]
    assert read_rows(tmp_path / "a.npz", "y").tolist() == [0, 0]
    with pytest.raises(SettingsError, match=r"array 'classes' is .*, not numbers"):
        read_rows(tmp_path / "a.npz", "classes")


def spec(normalized: bool = True, **data_types: list[int]) -> ModelSpec:
    """A spec that says what a row is."""
    ((kind, size),) = data_types.items() or [("image", [])]
    stated = {kind: {"size": size, "normalized": normalized}}
    spec = TensorSpec(name="w", shape=(1,), dtype="float32")
    input_ = {"data_types": stated} if size else {}
    return ModelSpec(model="m", layout=(spec,), architectures={}, input=input_)


@pytest.fixture
def red(tmp_path: Path) -> Path:
    """A picture, 4 wide and 2 high, its left half red and its right half black."""
    image = pytest.importorskip("PIL.Image")
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[:, :2, 0] = 255
    image.fromarray(pixels).save(tmp_path / "red.png")
    return tmp_path / "red.png"


def test_a_picture_becomes_what_the_spec_says(red: Path) -> None:
    """Size, colours or grey, channels first or last, flat, 0 to 1 or 0 to 255."""
    last = read_images([red, red], spec(image=[2, 4, 3]))
    assert last.shape == (2, 2, 4, 3)
    assert last[1, 0, :, 0].tolist() == [1, 1, 0, 0]
    assert last[..., 1:].max() == 0
    first = read_images([red], spec(image=[3, 2, 4]))
    np.testing.assert_array_equal(np.moveaxis(first, 1, 3)[0], last[0])
    bytes_ = read_images([red], spec(normalized=False, image=[2, 4, 3]))
    assert bytes_.max() == 255
    assert read_images([red], spec(normalized=False, image=[2, 4, 3]), normalized=True).max() == 1
    assert read_images([red], spec(image=[2, 4, 3]), normalized=False).max() == 255
    grey = read_images([red], spec(image=[2, 4, 1]))
    assert grey[0, 0, :, 0] == pytest.approx([76 / 255, 76 / 255, 0, 0], abs=0.01)
    assert read_images([red], spec(image=[1, 2, 4])).shape == (1, 1, 2, 4)
    assert read_images([red], spec(image=[2, 4])).shape == (1, 2, 4)
    flat = read_images([red], spec(image=[16]))
    assert (flat.shape, flat.min() >= 0, flat.max() <= 1) == ((1, 16), True, True)
    assert read_images([red], spec(image=[12])).shape == (1, 12)  # 2 x 2 in colour


def test_plain_numbers_take_a_picture_of_as_many_pixels_alone(red: Path, tmp_path: Path) -> None:
    """A photo that is squeezed into the four numbers of a flower was called an apple."""
    np.testing.assert_array_equal(
        read_images([red, red], spec(numerical=[24])),
        read_images([red, red], spec(image=[2, 4, 3])).reshape(2, 24),
    )
    assert read_images([red], spec(numerical=[8])).shape == (1, 8)
    for numbers in (4, 16, 64):
        with pytest.raises(SettingsError, match=rf"an image of {numbers} numbers, got 4 x 2 pix"):
            read_images([red], spec(numerical=[numbers]))
    with pytest.raises(SettingsError, match="an image of 4 numbers"):
        read_images([red], replace(spec(), input={"shape": [4]}))
    from PIL import Image

    Image.open(red).rotate(90, expand=True).save(tmp_path / "high.png")
    with pytest.raises(SettingsError, match=r"high\.png: 2 x 4 pixels, but .*red\.png has another"):
        read_images([red, tmp_path / "high.png"], spec(numerical=[24]))


def test_what_can_be_no_picture_is_said(red: Path, tmp_path: Path) -> None:
    """By what the model takes, or by the file."""
    with pytest.raises(SettingsError, match=r"takes rows of shape \[7\], not of an image"):
        read_images([red], spec(image=[7]))
    with pytest.raises(SettingsError, match="has no row shape"):
        read_images([red], spec())
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(SettingsError, match=r"x\.png: is not a readable image"):
        read_images([tmp_path / "x.png"], spec(image=[2, 4, 3]))
    with pytest.raises(SettingsError, match=r"y\.png: is not a readable image: No such file"):
        read_images([tmp_path / "y.png"], spec(image=[2, 4, 3]))


def test_a_spec_may_not_say_whether_rows_are_normalized() -> None:
    """One that a factory's push wrote, say; then a person is warned."""
    assert normalized_in(spec(image=[2, 4, 3])) is True
    assert normalized_in(spec(normalized=False, image=[2, 4, 3])) is False
    assert normalized_in(spec()) is None
    plain = replace(spec(), input={"shape": [2], "normalized": True})
    assert normalized_in(plain) is True
    assert normalized_in(replace(spec(), input={"data_types": {"image": {"size": [2]}}})) is None


def lines(answer: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Print an answer."""
    print_answer({"model": "m", "version": 3, **answer})
    return capsys.readouterr().out.splitlines()


def test_an_answer_says_first_what_it_means(capsys: pytest.CaptureFixture[str]) -> None:
    """A class and how sure the model is, labels, and of quantities the values alone."""
    scores = {"answers": "classes", "outputs": [[1.0, 3.5]], "probabilities": [[0.076, 0.924]]}
    assert lines({**scores, "classes": ["dog"]}, capsys) == [
        "m version 3, classes",
        "   1  dog  (92.4 %)  1 3.5",
    ]
    yes = {"answers": "logits", "outputs": [[-2.0]], "probabilities": [[0.12]], "classes": [0]}
    assert lines(yes, capsys)[1] == "   1  0  (88.0 %)  -2"
    labels = {"answers": "labels", "outputs": [[0.9, 0.1], [0, 0]], "labels": [["a"], []]}
    assert lines(labels, capsys)[1:] == ["   1  a  0.9 0.1", "   2  none  0 0"]
    values = {"answers": "values", "outputs": [[3.2061], [0.0]]}
    assert lines(values, capsys) == ["m version 3, values", "   1  3.206", "   2  0"]
    assert lines({"outputs": [0.5]}, capsys) == ["m version 3", "   1  0.5"]


def test_long_answers_are_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """With how much is left out; several outputs stand below their names."""
    wide = lines({"outputs": [[0] * 64] * 30}, capsys)
    assert wide[1].endswith("0 0 … 52 more")
    assert wide[-1] == "      … and 10 more; --json prints all"
    several = lines({"outputs": {"kind": [[1, 2]], "size": [[[1]]]}}, capsys)
    assert several[1:] == ["kind:", "   1  1 2", "size:", "   1  [[1]]"]
    places = {"answers": "classes", "outputs": [[[0, 1]]], "classes": [[1]]}
    assert lines(places, capsys)[1] == "   1  1  [[0, 1]]"


def test_raw_arrays_of_an_answer_become_lists() -> None:
    """Wherever they stand."""
    array = raw(np.array([[0.5]], np.float32))
    answer = msgpack.packb({"outputs": {"a": array}, "probabilities": array, "version": 1})
    read = decode(answer, MSGPACK)
    assert read == {"outputs": {"a": [[0.5]]}, "probabilities": [[0.5]], "version": 1}
    with pytest.raises(Failed, match="an answer that cannot be read"):
        decode(msgpack.packb({"version": 1}), MSGPACK)
