"""Folders of arrays, however large."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.data import arrays as rows
from fedbus.data.loaders.memmap import memmap
from fedbus.errors import TrainingError


@pytest.fixture(autouse=True)
def _streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "KEPT_BYTES", 0)


def test_npy_files_are_read_in_pieces(tmp_path: Path) -> None:
    """Bytes become float32, whole numbers classes."""
    x = np.arange(40, dtype=np.uint8).reshape(10, 2, 2, 1)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", np.arange(10, dtype=">i4"))
    data = memmap(str(tmp_path), batch=4)
    got = list(data.batches())
    assert [(part.dtype.name, y.dtype.name, len(y)) for part, y in got] == [
        ("float32", "int64", 4),
        ("float32", "int64", 4),
        ("float32", "int64", 2),
    ]
    np.testing.assert_array_equal(np.concatenate([part for part, _ in got]), x)
    assert np.concatenate([y for _, y in got]).tolist() == list(range(10))


def test_bare_memory_maps_are_read_as_their_owner_describes_them(tmp_path: Path) -> None:
    """They have no head that says what they hold."""
    x: Any = np.memmap(tmp_path / "x.dat", "float64", "w+", shape=(6, 3))
    x[:] = np.arange(18).reshape(6, 3)
    x.flush()
    np.arange(6, dtype=np.float32).tofile(tmp_path / "y.dat")
    shape_x: dict[str, Any] = {"dtype": "float64", "shape": [3]}
    shape_y: dict[str, Any] = {"dtype": "float32", "shape": []}
    got = list(memmap(str(tmp_path), 4, shape_x, shape_y).batches())
    np.testing.assert_array_equal(np.concatenate([part for part, _ in got]), x)
    assert np.concatenate([y for _, y in got]).tolist() == [0, 1, 2, 3, 4, 5]
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"dtype": "float64", "shape": [5]}, "144 bytes are no whole rows of 40"),
        ({"dtype": "object", "shape": [3]}, "x.dtype is 'object': expected bool"),
        ({"dtype": "float64", "shape": [0]}, r"x.shape is \[0\]"),
        ({"dtype": "float64"}, "an object with dtype and shape"),
        ({"dtype": "float64", "shape": [2**40]}, "a row of x has"),
    ]
    for bad, sentence in wrong:
        with pytest.raises(TrainingError, match=sentence):
            memmap(str(tmp_path), 4, bad, shape_y)


def test_what_is_torn_or_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    """Before anything is trained."""
    with pytest.raises(TrainingError, match=r"x\.npy: No such file"):
        memmap(str(tmp_path))
    np.save(tmp_path / "x.npy", np.ones((4, 2)))
    np.save(tmp_path / "y.npy", np.ones(3))
    with pytest.raises(TrainingError, match="4 rows of x and 3 of y"):
        memmap(str(tmp_path))
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(whole[:-8])
    with pytest.raises(TrainingError, match="184 bytes where its head promises 192"):
        memmap(str(tmp_path))
    np.save(tmp_path / "x.npy", np.asfortranarray(np.ones((4, 2))))
    with pytest.raises(TrainingError, match="column by column"):
        memmap(str(tmp_path))
    arrays: list[tuple[Any, str]] = [
        (np.float32(1), "one bare number"),
        (np.array(["a"]), "<U1, not numbers"),
        (np.array([None]), "Object arrays"),
    ]
    for array, sentence in arrays:
        np.save(tmp_path / "x.npy", array, allow_pickle=True)
        with pytest.raises(TrainingError, match=sentence):
            memmap(str(tmp_path))
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x03\x00")
    with pytest.raises(TrainingError, match=r"format \(3, 0\)"):
        memmap(str(tmp_path))
    (tmp_path / "x.npy").write_bytes(b"something else")
    with pytest.raises(TrainingError, match=r"x\.npy has no head .* the magic string"):
        memmap(str(tmp_path))


def test_a_file_cut_short_while_it_is_used_is_an_error_and_no_crash(tmp_path: Path) -> None:
    """A mapped one would end the process."""
    np.save(tmp_path / "x.npy", np.ones((400_000, 2)))
    np.save(tmp_path / "y.npy", np.ones(400_000))
    walk = memmap(str(tmp_path)).batches()
    next(walk)
    with (tmp_path / "x.npy").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(TrainingError, match=r"x\.npy ends in row \d+ of 400000"):
        list(walk)


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        (b"{'descr': '<f4', 'fortran_order': False, 'shape': (-4, 2), }", "no length is below 0"),
        (b"{'descr': '<f4', 'fortran_order': False, 'shape': (4, ", "has no head as numpy writes"),
        (b"(" * 5000, "has no head as numpy writes it"),
        (b"{'descr': '<f4', 'fortran_order': False, 'shape': (4, 2.5)}", "has no head as numpy"),
        (b"{'descr': '<f4', 'fortran_order': False, 'shape': (9, 2**70)}", "has no head as numpy"),
        (
            b"{'descr': '<f4', 'fortran_order': False, 'shape': (9, 1180591620717411303424)}",
            "no array has",
        ),
    ],
)
def test_a_damaged_head_is_refused(tmp_path: Path, head: bytes, sentence: str) -> None:
    """It is a literal of Python's, whose parser has errors of its own; no claim takes memory."""
    np.save(tmp_path / "y.npy", np.ones(4))
    length = len(head).to_bytes(2, "little")
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00" + length + head + bytes(32))
    with pytest.raises(TrainingError, match=sentence):
        memmap(str(tmp_path))
