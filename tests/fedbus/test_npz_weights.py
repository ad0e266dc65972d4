"""Weights in .npz files: measured before they are unpacked, read tensor by tensor into a blob."""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.errors import LayoutError
from fedbus.model.blob import decode
from fedbus.model.layout import Layout
from fedbus.model.npz import MAX_NPY_HEADER_BYTES, read_blob, write_npz

ARRAYS: Mapping[str, Any] = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b/c": np.array([7], np.int64),
}
LAYOUT = Layout.of(ARRAYS)


def saved(path: Path, **arrays: Any) -> Path:  # noqa: ANN401 - any array
    """Write an .npz file as numpy does."""
    np.savez(path, **(arrays or ARRAYS))
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_weights_are_what_numpy_wrote(tmp_path: Path, save: Any) -> None:  # noqa: ANN401 - numpy's
    """Packed or not, in whatever order of bytes, rows and columns."""
    turned = {"a": np.asfortranarray(ARRAYS["a"].astype(">f4")), "b/c": ARRAYS["b/c"]}
    save(tmp_path / "w.npz", **turned)
    read = decode(read_blob(tmp_path / "w.npz", LAYOUT), LAYOUT)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(read[name], array)


def test_weights_are_written_as_numpy_reads_them(tmp_path: Path) -> None:
    """As well as by read_blob."""
    path = tmp_path / "w.npz"
    write_npz(path, ARRAYS)
    with np.load(path, allow_pickle=False) as read:
        assert set(read.files) == set(ARRAYS)
        np.testing.assert_array_equal(read["a"], ARRAYS["a"])
    assert decode(read_blob(path, LAYOUT), LAYOUT)["b/c"] == 7
    with path.open("rb") as file:
        assert decode(read_blob(file, LAYOUT), LAYOUT)["b/c"] == 7
    with pytest.raises(FileNotFoundError, match="No such file"):
        write_npz(tmp_path / "gone" / "w.npz", ARRAYS)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"a": ARRAYS["a"]}, "the weights lack b/c"),
        ({**ARRAYS, "d": ARRAYS["a"]}, "the weights hold d, which the layout does not"),
        ({**ARRAYS, "a": np.zeros((3, 2), np.float32)}, r"'a': float32 \(3, 2\) where the layout"),
        ({**ARRAYS, "a": np.zeros((2, 3))}, "'a': float64"),
        ({**ARRAYS, "a": np.array([{}], object)}, "'a': object"),
        (
            {**ARRAYS, "a": np.zeros(10**6, np.float32)},
            "'a': 4000128 bytes where the layout has 24",
        ),
    ],
)
def test_other_weights_than_the_layouts_are_refused(
    tmp_path: Path, arrays: dict[str, Any], sentence: str
) -> None:
    """Before they are unpacked; nothing is ever unpickled."""
    with pytest.raises(LayoutError, match=sentence):
        read_blob(saved(tmp_path / "w.npz", **arrays), LAYOUT)


def test_a_small_file_that_claims_to_hold_much_is_not_believed(tmp_path: Path) -> None:
    """No memory is taken for what so few bytes cannot hold, whatever they say."""
    path = saved(tmp_path / "w.npz", a=np.zeros(3, np.float32))
    wide = Layout.of({"a": np.broadcast_to(np.float32(0), (2**30,))})
    with pytest.raises(LayoutError, match="140 bytes where the layout has 4294967296"):
        read_blob(path, wide)
    content = path.read_bytes()
    lie = struct.pack("<L", wide.tensors[0].size - 2**24 + 128)
    liar = content.replace(struct.pack("<L", 140), lie)
    path.write_bytes(liar)
    narrow = Layout.of({"a": np.broadcast_to(np.float32(0), (2**30 - 2**22,))})
    with pytest.raises(LayoutError, match=r"claims to hold 42\d+ bytes, which \d+ cannot"):
        read_blob(path, narrow)


def packed(path: Path, content: bytes, method: int = zipfile.ZIP_STORED) -> Path:
    """Write an archive with something for a tensor."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.npy", content)
        archive.writestr("b/c.npy", content)
    return path


def test_what_is_no_archive_of_arrays_is_refused(tmp_path: Path) -> None:
    """Torn, locked, packed oddly, with a header that is none."""
    good = saved(tmp_path / "good.npz").read_bytes()
    begin = b"\x93NUMPY\x01\x00"
    files = {
        "no zip": b"hello",
        "torn": good[: len(good) // 2],
        "no array": packed(tmp_path / "x.npz", b"hello").read_bytes(),
        "short": packed(tmp_path / "x.npz", begin + b"\xff\xff{").read_bytes(),
        "version": packed(tmp_path / "x.npz", b"\x93NUMPY\x02\x00" + b"\0" * 4).read_bytes(),
        "damaged": good.replace(struct.pack("<f", 5.0), struct.pack("<f", 6.0)),
        "lzma": packed(tmp_path / "x.npz", begin, zipfile.ZIP_LZMA).read_bytes(),
    }
    for name, content in files.items():
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        with pytest.raises(LayoutError):
            read_blob(path, LAYOUT)
    assert MAX_NPY_HEADER_BYTES < 10**5
