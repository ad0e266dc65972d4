"""Data are what their owner says, fit the model, and are loaded again when they change."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fedbus.data import Field
from fedbus.data.format_reader import read_format
from fedbus.datasource.config import DataConfig, load, loader_for, read
from fedbus.datasource.fingerprint import MAX_QUICK_FILES, fingerprint, quick_fingerprint
from fedbus.datasource.pipeline import read_steps
from fedbus.datasource.source import DataSource, wanted_row
from fedbus.errors import PluginError, TrainingError
from fedbus.training.params import TrainingParams
from tests.plugin_package import Install


def shard(path: Path, rows: int = 4, width: int = 3, top: float = 1.0) -> Path:
    """Write a shard, and rename it into its place."""
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        np.savez(file, x=np.full((rows, width), top), y=np.arange(rows) % 2)
    new.rename(path)
    return path


def test_a_path_says_what_reads_it(tmp_path: Path) -> None:
    """Unless it says nothing."""
    assert loader_for(Path("a.CSV")) == "csv"
    assert loader_for(Path("a.pq")) == "parquet"
    assert loader_for(tmp_path) == "images"
    (tmp_path / "x.dat").touch()
    assert loader_for(tmp_path) == "memmap"
    (tmp_path / "a.txt").touch()
    with pytest.raises(TrainingError, match=r"a\.txt: no loader is known for it \(\.csv, "):
        loader_for(tmp_path / "a.txt")
    with pytest.raises(TrainingError, match=r"b\.txt: no such file or folder"):
        loader_for(tmp_path / "b.txt")


def test_training_is_augmented_and_evaluation_is_not(tmp_path: Path) -> None:
    """By one pipeline, or by two."""
    path = shard(tmp_path / "a.npz")
    steps = read_steps([{"id": "noise"}, {"id": "cast", "parameters": {"dtype": "float64"}}])
    loaded = load(DataConfig(path=path, steps=steps))
    (train, _), (test, _) = next(loaded.train.steps(TrainingParams())), next(loaded.test.batches())
    assert (train.dtype.name, test.dtype.name) == ("float64", "float64")
    assert (test == 1).all()
    assert not (train == 1).any()
    assert loaded.form.x == Field(kind="numerical", size=(3,), dtype="float64")
    with pytest.raises(
        TrainingError, match="x is numerical 3 float64 in training and numerical 3 float32 in eval"
    ):
        load(DataConfig(path=path, steps=steps, test_steps=[]))


def test_what_an_owner_declares_is_verified(tmp_path: Path) -> None:
    """Before any step."""
    path = shard(tmp_path / "a.npz", top=2.0)
    y = {"data_types": {"categorical": {"size": [1]}}}
    good = read_format({"x": {"data_types": {"numerical": {"size": [3]}}}, "y": y})
    assert load(DataConfig(path=path, declared=good)).train.examples == 4
    bad = {"x": {"data_types": {"numerical": {"size": [4], "normalized": True}}}, "y": y}
    with pytest.raises(
        TrainingError,
        match=r"x is not as declared: a row is \[3\], not \[4\]; its numbers go",
    ):
        load(DataConfig(path=path, declared=read_format(bad)))


def test_a_step_that_fails_on_the_first_rows_is_found_when_they_are_loaded(tmp_path: Path) -> None:
    """Not in the middle of a round."""
    steps = read_steps([{"id": "one-hot", "parameters": {"classes": 2}}])
    path = shard(tmp_path / "a.npz")
    load(DataConfig(path=path, steps=steps))
    np.savez(path, x=np.ones((3, 1)), y=np.arange(3))
    with pytest.raises(TrainingError, match=r"transform 1 \(one-hot\): y holds 0 to 2"):
        load(DataConfig(path=path, steps=steps))


def test_a_loader_gets_the_owners_options_and_no_others(tmp_path: Path, install: Install) -> None:
    """A mistake of a third-party loader is reported with its name."""
    path = shard(tmp_path / "a.npz")
    assert len(next(read(path, "npz", {"batch": 2}).peek())[1]) == 2
    with pytest.raises(PluginError, match=r"loader npz: .*'label'; it takes batch"):
        read(path, None, {"label": "y"})
    made = "def bad(path): raise KeyError('lost')\ndef odd(path): return [path]\n"
    install("acme_bad", "[fedbus.loaders]\nbad = acme_bad:bad\nodd = acme_bad:odd", made)
    with pytest.raises(PluginError, match=r"loader bad: .*: KeyError: 'lost'"):
        read(path, "bad")
    with pytest.raises(PluginError, match=r"loader odd: expected a fedbus\.Dataset, got a list"):
        read(path, "odd")


@pytest.mark.parametrize(
    ("said", "want"),
    [
        ({}, None),
        ({"shape": [8, 8, 1]}, Field(kind="image", size=(8, 8, 1))),
        (
            {"shape": [64], "dtype": "float32"},
            Field(kind="numerical", size=(64,), dtype="float32"),
        ),
        ({"shape": [None, 64]}, None),
        ({"data_types": {"numerical": {"size": [64]}}}, Field(kind="numerical", size=(64,))),
        (
            {"x": {"data_types": {"image": {"size": [1, 1, 1]}}}},
            Field(kind="image", size=(1, 1, 1)),
        ),
        ({"data_types": {"sound": {}}}, None),
    ],
)
def test_a_spec_says_what_its_model_takes(said: dict[str, Any], want: Field | None) -> None:
    """In either of two ways; what cannot be read wants nothing."""
    assert wanted_row(said) == want


def test_a_model_that_takes_other_data_is_refused_before_it_trains(tmp_path: Path) -> None:
    """With what it takes and what there is."""
    data = DataSource(DataConfig(path=shard(tmp_path / "a.npz")))
    assert data.for_task({}).train.examples == 4
    assert data.for_task({"shape": [3]}) is data.now
    with pytest.raises(TrainingError, match=r"the model takes image 8 x 8 x 1: it is numerical"):
        data.for_task({"shape": [8, 8, 1]})


def test_a_change_is_noticed_once_it_has_settled(tmp_path: Path) -> None:
    """What is still being written is left alone for another look."""
    path = shard(tmp_path / "a.npz")
    data = DataSource(DataConfig(path=path))
    before = data.now
    assert [data.has_settled_change(), data.has_settled_change()] == [False, False]
    shard(path, rows=6)
    assert data.has_settled_change() is False
    assert data.has_settled_change() is True
    data.reload()
    assert data.has_settled_change() is False
    assert (before.train.examples, data.now.train.examples, data.trouble) == (4, 6, "")


def test_data_that_cannot_be_loaded_any_more_are_trouble_until_they_are_mended(
    tmp_path: Path,
) -> None:
    """No task trains on what is gone, and it is not tried again and again."""
    path = shard(tmp_path / "a.npz")
    data = DataSource(DataConfig(path=path))
    path.write_bytes(b"torn")
    assert [data.has_settled_change(), data.has_settled_change()] == [False, True]
    data.reload()
    assert "not an .npz file" in data.trouble
    assert data.has_settled_change() is False
    with pytest.raises(
        TrainingError, match=r"changed and cannot be loaded: .*a\.npz: not an \.npz"
    ):
        data.for_task({})
    path.unlink()
    with pytest.raises(TrainingError, match=r"cannot be loaded: .*No such file"):
        data.for_task({})
    shard(path, rows=5)
    assert data.for_task({}).train.examples == 5
    assert data.trouble == ""


def test_a_task_gets_what_is_there_and_keeps_it(tmp_path: Path, monkeypatch: Any) -> None:  # noqa: ANN401 - pytest's
    """Whatever takes its place meanwhile."""
    monkeypatch.setattr("fedbus.data.arrays.KEPT_BYTES", 0)
    path = shard(tmp_path / "a.npz", rows=100)
    data = DataSource(DataConfig(path=path))
    task = data.for_task({}).train
    walk = task.batches()
    next(walk)
    shard(path, rows=200)
    assert data.for_task({}).train.examples == 200
    assert 32 + sum(len(y) for _, y in walk) == 100
    assert sum(len(y) for _, y in task.batches()) == 100


def test_folders_below_a_folder_are_looked_into(tmp_path: Path) -> None:
    """The images loader may take pictures from them; a link to a folder above ends somewhere."""
    deep = tmp_path / "cat" / "kitten" / "small"
    deep.mkdir(parents=True)
    (deep / "up").symlink_to(tmp_path)
    for look in (fingerprint, quick_fingerprint):
        seen = look(tmp_path)
        (deep / look.__name__).write_bytes(b"x")
        assert look(tmp_path) != seen


def test_a_folder_has_changed_when_a_file_in_it_has(tmp_path: Path, monkeypatch: Any) -> None:  # noqa: ANN401
    """In a very large folder the quick fingerprint includes only its folders."""
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "1.png").write_bytes(b"1")
    (tmp_path / "README").write_bytes(b"1")
    for look in (fingerprint, quick_fingerprint):
        seen = look(tmp_path)
        assert seen == look(tmp_path) != ""
        (tmp_path / "cats" / "1.png").write_bytes(look.__name__.encode())
        assert look(tmp_path) != seen
    monkeypatch.setattr("fedbus.datasource.fingerprint.MAX_QUICK_FILES", 1)
    seen, glimpsed = fingerprint(tmp_path), quick_fingerprint(tmp_path)
    (tmp_path / "cats" / "1.png").write_bytes(b"123")
    assert fingerprint(tmp_path) != seen
    assert quick_fingerprint(tmp_path) == glimpsed
    (tmp_path / "cats" / "3.png").write_bytes(b"1")
    assert quick_fingerprint(tmp_path) != glimpsed
    assert fingerprint(tmp_path / "nowhere") == quick_fingerprint(tmp_path / "nowhere") == ""


def test_one_picture_of_very_many_is_noticed_by_the_next_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The quick fingerprint misses a rewritten file; the task that reads it fails, not the next."""
    image = pytest.importorskip("PIL.Image")
    monkeypatch.setattr("fedbus.data.arrays.KEPT_BYTES", 0)
    (tmp_path / "cats").mkdir()
    picture = image.new("RGB", (2, 2), (1, 2, 3))
    picture.save(tmp_path / "cats" / "first.bmp")
    plain = (tmp_path / "cats" / "first.bmp").read_bytes()
    for number in range(MAX_QUICK_FILES + 10):
        (tmp_path / "cats" / f"{number}.bmp").write_bytes(plain)
    data = DataSource(DataConfig(path=tmp_path, loader="images"))
    task = data.for_task({}).train
    image.new("RGB", (2, 2), (9, 9, 9)).save(tmp_path / "cats" / "7.bmp")
    assert not data.has_settled_change()
    assert not data.has_settled_change()
    with pytest.raises(TrainingError, match=r"7\.bmp: it changed while the data were in use"):
        list(task.peek())
    bright = sum(int((x == 9).all(axis=(1, 2, 3)).sum()) for x, _ in data.for_task({}).train.peek())
    assert bright == 1
    assert not data.has_settled_change()
    assert data.trouble == ""


def test_names_of_another_encoding_are_reported_and_end_no_process(tmp_path: Path) -> None:
    """A folder of an old archive: what is in it is noticed, and a name that is no text refused."""
    for name in (b"ok", b"caf\xe9"):
        folder = tmp_path / os.fsdecode(name)
        folder.mkdir()
        Image.new("L", (2, 2)).save(folder / "a.png")
    assert fingerprint(tmp_path)
    assert quick_fingerprint(tmp_path)
    with pytest.raises(TrainingError, match=r"'caf.*udce9' is not in UTF-8; rename the class"):
        load(DataConfig(path=tmp_path))


def test_a_trouble_can_be_announced_whatever_a_file_is_called(tmp_path: Path) -> None:
    """It goes into the state of its agent."""
    path = shard(tmp_path / os.fsdecode(b"caf\xe9.npz"))
    source = DataSource(DataConfig(path=path))
    path.write_bytes(b"no arrays")
    source.reload()
    assert "caf\\udce9.npz" in source.trouble
