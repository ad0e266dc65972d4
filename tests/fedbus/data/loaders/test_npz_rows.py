"""Shards: small ones are kept, large ones read in pieces; torn ones are found."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike

from fedbus.data import arrays as rows
from fedbus.data import npz
from fedbus.data.loaders import npy
from fedbus.data.loaders.memmap import memmap
from fedbus.errors import TrainingError


def shard(folder: Path, *, packed: bool = False, **arrays: ArrayLike) -> str:
    """Write an .npz file."""
    path = folder / "agent.1.npz"
    (np.savez_compressed if packed else np.savez)(path, **arrays)
    return str(path)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("most", [0, 1 << 20])
def test_a_shard_gives_the_same_rows_kept_or_streamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool, most: int
) -> None:
    """Compressed or not."""
    monkeypatch.setattr(rows, "KEPT_BYTES", most)
    x = np.arange(60, dtype=np.float64).reshape(10, 3, 2)
    data = npz(shard(tmp_path, packed=packed, x=x, y=np.arange(10, dtype=np.uint8)), batch=4)
    for _ in range(2):
        got = list(data.batches())
        assert [len(part) for part, _ in got] == [4, 4, 2]
        np.testing.assert_array_equal(np.concatenate([part for part, _ in got]), x)
        assert np.concatenate([y for _, y in got]).tolist() == list(range(10))


def test_columns_first_are_turned_where_they_are_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row of theirs lies in one piece, so they cannot be streamed."""
    x = np.asfortranarray(np.arange(24, dtype=np.float32).reshape(4, 3, 2))
    path = shard(tmp_path, x=x, y=np.arange(4))
    np.testing.assert_array_equal(next(npz(path).peek())[0], x)
    monkeypatch.setattr(npy, "KEPT_BYTES", 10)
    with pytest.raises(TrainingError, match=r"x lies column by column, 96 bytes.*ascontiguous"):
        npz(path)


def test_a_number_that_is_none_is_named_by_its_place(tmp_path: Path) -> None:
    """As numpy would write it."""
    x = np.ones((50, 3), np.float32)
    x[41, 2] = np.nan
    with pytest.raises(TrainingError, match=r"agent\.1\.npz: x\[41, 2\] is nan, not a finite"):
        npz(shard(tmp_path, x=x, y=np.zeros(50, int)))
    with pytest.raises(TrainingError, match=r"y\[3\] is inf"):
        npz(shard(tmp_path, x=np.ones((4, 1)), y=[0, 1, 2, 1e300]))


@pytest.mark.parametrize("packed", [False, True])
def test_a_shard_with_a_flipped_byte_is_refused(tmp_path: Path, packed: bool) -> None:
    """The archive carries a checksum."""
    x = np.random.default_rng(0).random((1000, 3))
    path = Path(shard(tmp_path, packed=packed, x=x, y=np.zeros(1000, int)))
    data = bytearray(path.read_bytes())
    data[5000] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(TrainingError, match=r"agent\.1\.npz: "):
        npz(str(path))


def test_a_head_that_promises_more_than_there_is_is_refused_before_anything_is_allocated(
    tmp_path: Path,
) -> None:
    """A row of a petabyte fits no memory."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 250000000000000), }"
    bad = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n"
    path = tmp_path / "huge.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", bad)
        archive.writestr("y.npy", bad)
    with pytest.raises(TrainingError, match="a row of x has 1000000000000000 bytes"):
        npz(str(path))
    short = bad.replace(b"(2, 250000000000000)", b"(200, 2)            ")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", short)
        archive.writestr("y.npy", short)
    with pytest.raises(TrainingError, match=r"huge\.npz: x ends in row 0 of 200"):
        npz(str(path))


def test_a_shard_may_name_its_classes_and_inputs(tmp_path: Path) -> None:
    """So that what was dealt from folders and tables can still be compared by name."""
    x, y = np.ones((2, 2), np.float32), np.array([0, 1])
    info = npz(shard(tmp_path, x=x, y=y, classes=["ok", "scrap"], columns=["t", "p"])).info
    assert (info.classes, info.columns) == (("ok", "scrap"), ("t", "p"))
    others: list[ArrayLike] = [[1, 2], [["a"]], np.zeros(0, "U1"), 3.5, [b"a"]]
    for other in others:
        assert npz(shard(tmp_path, x=x, y=y, classes=other)).info.classes == ()
    with pytest.raises(
        TrainingError, match=r"classes is \['a', 'a'\]: expected a list of different names"
    ):
        npz(shard(tmp_path, x=x, y=y, classes=["a", "a"]))


@pytest.mark.parametrize("most", [0, 1 << 20])
def test_an_owner_names_the_classes_of_plain_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """A number without a name is refused with its row, kept or streamed, turned or not."""
    monkeypatch.setattr(rows, "KEPT_BYTES", most)
    x, y = np.ones((3, 2), np.float32), np.array([0, 1, 2])
    path = shard(tmp_path, x=x, y=y, classes=["a", "b", "c"])
    assert npz(path, classes=["ok", "scrap", "new"]).info.classes == ("ok", "scrap", "new")
    for given in (x, np.asfortranarray(x)):
        with pytest.raises(
            TrainingError, match=r"y\[2\] is 2; there are names of 2 classes, 0 to 1"
        ):
            list(npz(shard(tmp_path, x=given, y=y), classes=["ok", "scrap"]).peek())
    with pytest.raises(TrainingError, match=r"y is float32 \(3,\); classes have names"):
        list(npz(shard(tmp_path, x=x, y=y / 2), classes=["ok", "scrap"]).peek())
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    assert memmap(str(tmp_path), classes=["a", "b", "c"]).info.classes == ("a", "b", "c")
    with pytest.raises(TrainingError, match=r"y\.npy\[2\] is 2; there are names of 2 classes"):
        list(memmap(str(tmp_path), classes=["ok", "scrap"]).peek())


def test_names_that_a_damaged_file_promises_are_not_allocated(tmp_path: Path) -> None:
    """A head may promise any number of them."""
    header = b"{'descr': '<U4', 'fortran_order': False, 'shape': (9000000000000,), }"
    head = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n"
    for content in (head, b"\x93NUMPY\x09\x00", b"torn", b""):
        path = Path(shard(tmp_path, x=np.ones((2, 2)), y=[0, 1]))
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("classes.npy", content)
        assert npz(str(path)).info.classes == ()


def test_a_class_number_that_int64_cannot_hold_is_refused(tmp_path: Path) -> None:
    """It would come out negative."""
    x, y = np.ones((2, 2), np.float32), np.array([1, 2**63], np.uint64)
    with pytest.raises(TrainingError, match="y holds 9223372036854775808, more than int64"):
        npz(shard(tmp_path, x=x, y=y))
    assert next(npz(shard(tmp_path, x=x, y=y % 7)).peek())[1].dtype == np.int64


def test_class_numbers_from_one_on_are_told_of(tmp_path: Path) -> None:
    """No framework counts so; a mend is named. Words are refused with what to write instead."""
    x = np.ones((4, 2), np.float32)
    (note,) = npz(shard(tmp_path, x=x, y=[1, 2, 3, 1])).info.notes
    assert note == (
        'y holds 1 to 3; if these are classes, the transform "class-ids" with "first": 1 makes '
        "them 0 to 2"
    )
    for y in ([0, 1, 2, 3], [1, 3, 5, 7], [1, 1, 1, 1], [1.5, 2, 3, 1]):
        assert npz(shard(tmp_path, x=x, y=y)).info.notes == ()
    assert npz(shard(tmp_path, x=x, y=[1, 2, 1, 2]), classes=["a", "b", "c"]).info.notes == ()
    with pytest.raises(TrainingError, match=r"y is <U3, not numbers; write numpy\.unique"):
        npz(shard(tmp_path, x=x, y=["cat", "dog", "cat", "cat"]))
