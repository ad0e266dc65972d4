"""A folder with a folder of pictures for each class."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.data import Dataset, rows
from fedbus.data.loaders import pictures
from fedbus.data.loaders.pictures import images
from fedbus.errors import TrainingError

Image = pytest.importorskip("PIL.Image")


@pytest.fixture(autouse=True)
def _streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "KEPT_BYTES", 0)


def drawn(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (4, 3)) -> None:
    """Draw a picture in one colour; size is (width, height)."""
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def whole(data: Dataset) -> tuple[Any, Any]:
    """Read all rows."""
    parts = list(data.peek())
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def test_a_folder_is_a_class(tmp_path: Path) -> None:
    """In the order of their names; other files beside the pictures do not count."""
    for number in range(5):
        drawn(tmp_path / "cats" / f"{number}.png", (number, 10, 20))
    drawn(tmp_path / "dogs" / "a.bmp", (100, 110, 120))
    (tmp_path / "dogs" / "notes.txt").write_text("a dog")
    (tmp_path / "README").write_text("pets")
    data = images(str(tmp_path), batch=4)
    assert data.examples == 6
    x, y = whole(data)
    assert (x.shape, x.dtype, y.dtype) == ((6, 3, 4, 3), np.float32, np.int64)
    assert sorted(zip(y.tolist(), x[:, 0, 0, 0].tolist(), strict=True)) == [
        *((0, n) for n in range(5)),
        (1, 100),
    ]
    assert x[y == 1][0, 2, 3].tolist() == [100, 110, 120]
    np.testing.assert_array_equal(whole(data)[0], x)


def test_grey_pictures_have_one_channel_and_any_size_is_brought_to_one(tmp_path: Path) -> None:
    """If their owner says so; else the one that differs is named."""
    drawn(tmp_path / "a" / "1.png", (10, 10, 10))
    drawn(tmp_path / "a" / "2.png", (10, 10, 10), size=(8, 8))
    with pytest.raises(TrainingError, match=r'[12]\.png: .* pixels, .* set "size"'):
        whole(images(str(tmp_path)))
    x, _ = whole(images(str(tmp_path), size=[5, 6], colour="grey"))
    assert x.shape == (2, 5, 6, 1)
    assert (x == 10).all()


def test_classes_are_numbered_by_their_list_where_agents_lack_some(tmp_path: Path) -> None:
    """Else the same number would be a cat here and a dog there."""
    drawn(tmp_path / "dogs" / "1.png", (0, 0, 0))
    assert whole(images(str(tmp_path), classes=["cats", "dogs"]))[1].tolist() == [1]
    with pytest.raises(TrainingError, match="dogs: no such class; they are cats"):
        images(str(tmp_path), classes=["cats"])


def test_what_is_no_picture_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torn, foreign, or too large to be unpacked."""
    with pytest.raises(TrainingError, match="a folder with a folder of pictures"):
        images(str(tmp_path / "nowhere"))
    with pytest.raises(TrainingError, match=r"no pictures there; .*/CLASS/picture\.png \(\.bmp, "):
        images(str(tmp_path))
    drawn(tmp_path / "a" / "1.png", (1, 2, 3), size=(64, 64))
    good = (tmp_path / "a" / "1.png").read_bytes()
    (tmp_path / "a" / "1.png").write_bytes(good[:-30])
    with pytest.raises(TrainingError, match=r"1\.png: not a picture"):
        whole(images(str(tmp_path)))
    (tmp_path / "a" / "1.png").write_bytes(b"text")
    with pytest.raises(TrainingError, match=r"1\.png: not a picture"):
        images(str(tmp_path))
    (tmp_path / "a" / "1.png").write_bytes(good)
    for options, sentence in [
        ({"size": [0, 3]}, r"size is \[0, 3\]"),
        ({"size": [3]}, r"size is \[3\]"),
        ({"colour": "cmyk"}, "it can be grey, rgb"),
        ({"batch": "3"}, "batch is '3'"),
    ]:
        with pytest.raises(TrainingError, match=sentence):
            images(str(tmp_path), **options)  # type: ignore[arg-type] # as a setting may have it
    data = images(str(tmp_path))
    monkeypatch.setattr(pictures, "MAX_PIXELS", 1000)
    with pytest.raises(TrainingError, match="64 x 64 pixels; at most 1000"):
        whole(data)


def test_a_picture_that_changes_while_it_is_used_is_an_error(tmp_path: Path) -> None:
    """A task sees one data set from its beginning to its end."""
    drawn(tmp_path / "a" / "1.png", (1, 2, 3))
    data = images(str(tmp_path))
    drawn(tmp_path / "a" / "1.png", (1, 2, 3), size=(9, 9))
    with pytest.raises(TrainingError, match="it changed while"):
        whole(data)
    (tmp_path / "a" / "1.png").unlink()
    with pytest.raises(TrainingError, match=r"1\.png: No such file"):
        whole(data)
    (tmp_path / "a" / "1.png").mkdir()
    with pytest.raises(TrainingError, match=r"1\.png: not a file"):
        images(str(tmp_path))
