"""A folder with a folder of pictures for each class."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.data import Dataset, arrays
from fedbus.data.loaders import images as pictures
from fedbus.data.loaders.images import images
from fedbus.errors import TrainingError

Image = pytest.importorskip("PIL.Image")


@pytest.fixture(autouse=True)
def _streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "KEPT_BYTES", 0)


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
    with pytest.raises(TrainingError, match=r"expected a folder with .*, got nothing$"):
        images(str(tmp_path / "nowhere"))
    (tmp_path / "table.csv").touch()
    with pytest.raises(TrainingError, match=r"table\.csv: expected a folder with .*, got a file$"):
        images(str(tmp_path / "table.csv"))
    (tmp_path / "table.csv").unlink()
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
        ({"colour": "cmyk"}, "expected grey, rgb"),
        ({"batch": "3"}, "batch is '3'"),
    ]:
        with pytest.raises(TrainingError, match=sentence):
            images(str(tmp_path), **options)  # type: ignore[arg-type] # as a setting may have it
    data = images(str(tmp_path))
    monkeypatch.setattr(pictures, "MAX_PIXELS", 1000)
    with pytest.raises(TrainingError, match="64 x 64 pixels; at most 1000"):
        whole(data)


def test_what_systems_write_is_no_class_and_no_picture(tmp_path: Path) -> None:
    """Notebooks, desktops and network drives: only their owner's folders count, and it is said."""
    for name in ("ok/1.png", "ok/._1.png", "scrap/1.PNG", "scrap/2.png", ".ipynb_checkpoints/3.png",
                 "@eaDir/4.png", "__MACOSX/5.png", ".git/6.png"):  # fmt: skip
        drawn(tmp_path / name, (1, 2, 3))
    for name in ("Thumbs.db", ".DS_Store", "ok/desktop.ini", "ok/notes.heic", "scrap/notes"):
        (tmp_path / name).write_bytes(b"x")
    drawn(tmp_path / "stray.png", (1, 2, 3))
    (tmp_path / "aaa_not_yet").mkdir()
    data = images(str(tmp_path))
    hidden = ".DS_Store, .git, .ipynb_checkpoints, @eaDir"
    assert (data.examples, data.info.classes) == (3, ("ok", "scrap"))
    assert data.info.notes == (
        f"hidden files and folders are skipped: {hidden} and 4 more",
        "folders without pictures are no class: aaa_not_yet",
        "1 pictures outside the folders of classes are skipped",
        "files that are no pictures by their names are skipped: 1 .heic, 1 without a suffix",
    )
    named = images(str(tmp_path), classes=["ok", "scrap", "aaa_not_yet"]).info
    assert named.classes == ("ok", "scrap", "aaa_not_yet")
    assert "folders without pictures are classes without a row here: aaa_not_yet" in named.notes


def test_a_folder_of_other_files_says_which_they_are(tmp_path: Path) -> None:
    """Pictures of a kind that is not read look like none."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.heic").write_bytes(b"x")
    with pytest.raises(TrainingError, match=r"no pictures there; .*by their names .*: 1 \.heic$"):
        images(str(tmp_path))


def test_folders_below_a_class_are_asked_about(tmp_path: Path) -> None:
    """train/cat is a class of its own, cat/kitten is not: only the owner knows."""
    drawn(tmp_path / "cat" / "1.png", (0, 0, 0))
    (tmp_path / "cat" / "notes").mkdir()
    assert images(str(tmp_path)).examples == 1
    (tmp_path / "cat" / "kitten").mkdir()
    drawn(tmp_path / "cat" / "kitten" / "2.png", (0, 0, 0))
    with pytest.raises(
        TrainingError, match=r"kitten: pictures in a folder below .*\"nested\": true"
    ):
        images(str(tmp_path))
    assert images(str(tmp_path), nested=True).examples == 2


def test_classes_named_by_numbers_are_in_the_order_of_the_numbers(tmp_path: Path) -> None:
    """10 comes after 2; names with accents are one name, whichever system wrote them."""
    for name in ("10", "2", "1", "cafe\u0301"):
        drawn(tmp_path / name / "1.png", (0, 0, 0))
    assert images(str(tmp_path)).info.classes == ("1", "2", "10", "caf\u00e9")
    given = ["caf\u00e9", "10", "2", "1"]
    assert images(str(tmp_path), classes=given).info.classes == tuple(given)
    drawn(tmp_path / "caf\u00e9" / "1.png", (0, 0, 0))
    with pytest.raises(TrainingError, match="are one class by their names"):
        images(str(tmp_path))


def test_links_are_followed(tmp_path: Path) -> None:
    """And one that leads nowhere is named."""
    drawn(tmp_path / "store" / "1.png", (7, 7, 7))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").symlink_to(tmp_path / "store")
    assert images(str(tmp_path / "data")).examples == 1
    (tmp_path / "store" / "2.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(TrainingError, match=r"2\.png: No such file"):
        images(str(tmp_path / "data"))


def saved(folder: Path, image: Any, name: str = "1.png", **options: Any) -> str:  # noqa: ANN401 - Pillow's
    """Save one picture as the only one of its class, in a folder of its own."""
    where = folder / str(len(list(folder.iterdir()))) / "a"
    where.mkdir(parents=True)
    image.save(where / name, **options)
    return str(where.parent)


def only(path: str, **options: Any) -> Any:  # noqa: ANN401 - an array
    """Read the only picture of a folder."""
    return whole(images(path, **options))[0][0]


def test_sixteen_bits_are_scaled_and_not_cut(tmp_path: Path) -> None:
    """Depth, thermal and X-ray cameras write them; 12 bits in 16 need their range."""
    deep = np.array([[0, 257], [2570, 65535]], np.uint16)
    for name in ("1.png", "1.tif", "1.pgm"):
        path = saved(tmp_path, Image.fromarray(deep), name)
        assert only(path, colour="grey")[..., 0] == pytest.approx(deep / 257)
        assert only(path).shape == (2, 2, 3)
    path = saved(tmp_path, Image.fromarray(np.array([[0, 4095]], np.uint16)))
    assert only(path, colour="grey", range=[0, 4095]).ravel().tolist() == [0, 255]
    assert only(path, colour="grey", range=[0, 4095], size=[1, 4]).shape == (1, 4, 1)
    with pytest.raises(
        TrainingError, match=r"1\.png: pixels of 0 to 4095, beyond the range 0 to 9"
    ):
        only(path, range=[0, 9])


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_of_no_known_range_are_refused(tmp_path: Path, dtype: Any) -> None:  # noqa: ANN401 - a dtype
    """Until their owner says which numbers are black and white."""
    path = saved(tmp_path, Image.fromarray(np.array([[-5, 15]], dtype)), "1.tiff")
    with pytest.raises(
        TrainingError, match=r'pixels \(-5 to 15\) of which .* "range": \[LOW, HIGH\]'
    ):
        only(path)
    assert only(path, colour="grey", range=[-5, 15]).ravel().tolist() == [0, 255]
    if dtype is np.float32:
        path = saved(tmp_path, Image.fromarray(np.array([[np.nan, 1]], dtype)), "1.tiff")
        with pytest.raises(TrainingError, match="beyond the range"):
            only(path, range=[0, 1])


def test_transparent_pixels_need_a_background(tmp_path: Path) -> None:
    """What a viewer shows depends on it; a picture that is opaque everywhere needs none."""
    clear = np.array([[[10, 20, 30, 0], [10, 20, 30, 255]]], np.uint8)
    opaque = clear | np.array([0, 0, 0, 255], np.uint8)
    assert only(saved(tmp_path, Image.fromarray(opaque))).tolist() == [[[10, 20, 30]] * 2]
    palette = Image.fromarray(clear[..., 0])
    for image in (Image.fromarray(clear), Image.fromarray(clear).convert("LA"), palette):
        options: dict[str, Any] = {"transparency": 10} if image is palette else {}
        path = saved(tmp_path, image, **options)
        with pytest.raises(TrainingError, match=r'1\.png: transparent pixels; set "background"'):
            only(path)
    path = saved(tmp_path, Image.fromarray(clear))
    for behind, seen in ((255, [255] * 3), ([1, 2, 3], [1, 2, 3]), ("ignore", [10, 20, 30])):
        assert only(path, background=behind)[0].tolist() == [seen, [10, 20, 30]]


def test_pictures_of_other_modes_are_converted_or_refused_by_name(tmp_path: Path) -> None:
    """Palettes, one bit, printer's colours, grey beside colour."""
    red = Image.new("RGB", (2, 2), (255, 0, 0))
    for image, name in (
        (red.convert("P"), "1.png"),
        (red.convert("P"), "1.gif"),
        (red.convert("CMYK"), "1.tif"),
        (red, "1.webp"),
    ):
        options = {"lossless": True} if name.endswith("webp") else {}
        assert only(saved(tmp_path, image, name, **options))[0, 0].tolist() == [255, 0, 0], name
    white = Image.new("1", (2, 2), 1)
    assert only(saved(tmp_path, white), colour="grey")[0, 0].tolist() == [255]
    grey = Image.new("L", (2, 2), 9)
    assert only(saved(tmp_path, grey))[0, 0].tolist() == [9, 9, 9]
    lab = saved(tmp_path, Image.new("LAB", (2, 2)), "1.tif")
    with pytest.raises(TrainingError, match=r"1\.tif: pixels of mode LAB, which has no meaning"):
        only(lab)


def test_a_picture_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    """As every viewer shows it; its sides change places with it."""
    image = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3) * 10)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, image, exif=exif)
    upright = [[30, 0], [40, 10], [50, 20]]
    assert only(path, colour="grey")[..., 0].tolist() == upright


def test_a_file_with_several_pictures_needs_a_choice(tmp_path: Path) -> None:
    """An animation, or pages; a phone's preview beside its picture does not count."""
    frames = [Image.new("L", (2, 2), grey) for grey in (10, 200)]
    for name in ("1.gif", "1.tif", "1.png", "1.webp"):
        path = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:])
        with pytest.raises(TrainingError, match=r'2 pictures in one file; set "frame": 0'):
            only(path)
        assert only(path, frame=1, colour="grey")[0, 0, 0] == pytest.approx(200, abs=2)
        with pytest.raises(TrainingError, match="2 pictures, and frame is 2"):
            only(path, frame=2)
    path = saved(
        tmp_path, frames[0], "1.jpg", format="MPO", save_all=True, append_images=frames[1:]
    )
    assert only(path, colour="grey")[0, 0, 0] == pytest.approx(10, abs=2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"range": [1, 1]}, r"range is \[1, 1\]: expected \[low, high\]"),
        ({"background": 256}, "background is 256: expected a grey"),
        ({"background": [1, 2]}, r"background is \[1, 2\]"),
        ({"background": True}, "background is True"),
        ({"frame": -1}, "frame is -1"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    """With what they can be."""
    drawn(tmp_path / "a" / "1.png", (0, 0, 0))
    with pytest.raises(TrainingError, match=sentence):
        images(str(tmp_path), **options)


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
