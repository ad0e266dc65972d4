"""Files of arrays, read within what they hold."""

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy

from fedbus.errors import LayoutError
from fedbus.model.npz import NUMBERS, read_npy, read_npz

ARRAYS: dict[str, Any] = {
    "a": np.arange(6, dtype=">f4").reshape(2, 3),
    "layers.0.b": np.asfortranarray(np.arange(12).reshape(3, 4)),
    "none": np.float16(3),
    "empty": np.zeros((0, 3), bool),
}


def saved(**arrays: Any) -> bytes:  # noqa: ANN401 - numpy's
    """Write arrays as numpy does, packed."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def headed(shape: tuple[int, ...], descr: str = "<f4", body: bytes = b"") -> bytes:
    """Write a .npy file that claims what the test wants."""
    file = io.BytesIO()
    fields = {"descr": descr, "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(file, fields)  # type: ignore[no-untyped-call]
    return file.getvalue() + body


def zipped(**entries: bytes) -> bytes:
    """Pack bytes as entries of an archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name.replace("_npy", ".npy"), data)
    return file.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_wrote_is_read(tmp_path: Path, save: Any) -> None:  # noqa: ANN401 - numpy's
    """In whatever order of bytes, rows and columns; the arrays can be written to."""
    save(tmp_path / "w.npz", **ARRAYS)
    found = read_npz(tmp_path / "w.npz")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
        assert found[name].flags.writeable
    np.save(tmp_path / "a.npy", ARRAYS["a"])
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), ARRAYS["a"])


def test_words_are_read_where_they_are_wanted(tmp_path: Path) -> None:
    """What an optimizer remembers names what it was made for."""
    np.savez(tmp_path / "s.npz", made=np.array("adam"))
    assert str(read_npz(tmp_path / "s.npz", f"{NUMBERS}U")["made"]) == "adam"
    with pytest.raises(LayoutError, match="array 'made' is <U4, not numbers"):
        read_npz(tmp_path / "s.npz")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "File is not a zip file"),
        (b"PK\x03\x04" + bytes(90), "File is not a zip file"),
        (zipped(a_npy=headed((2**40,))), "bytes do not hold float32 .1099511627776,. behind"),
        (zipped(a_npy=headed((-4,), body=bytes(16))), r"do not hold float32 \(-4,\)"),
        (zipped(a_npy=headed((-2, -2), body=bytes(16))), r"do not hold float32 \(-2, -2\)"),
        (zipped(a_npy=headed((3,), body=bytes(16))), r"do not hold float32 \(3,\)"),
        (zipped(a_npy=headed((True,), body=bytes(4))), r"the shape \(True,\), which no array has"),
        (zipped(a_npy=headed((0, 2**70))), "the shape .*, which no array has"),
        (zipped(a_npy=headed((0, 2**62, 2**62))), "not an .npz file of named arrays"),
        (zipped(a_npy=headed((1,) * 99, body=bytes(4))), "not an .npz file of named arrays"),
        (zipped(a_npy=headed((1,), "|O", bytes(8))), "object arrays are pickled, and never read"),
        (zipped(a_npy=headed((4,), "|V0")), "not numbers"),
        (zipped(a_npy=headed((1,), "<c8", bytes(8))), "is complex64, not numbers"),
        (zipped(a_npy=b"\x93NUMPY\x09\x00" + bytes(40)), r"in .npy format \(9, 0\)"),
        (zipped(a_npy=b"\x93NUMPY\x01\x00\x10\x00" + b"[" * 16), "array 'a' has no head as numpy"),
        (zipped(a_npy=b"\x93NUMPY\x01\x00\x10\x27" + b"(" * 9999 + b")"), "'a' has no head as"),
        (zipped(a_npy=b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{"), "array 'a' has no head as numpy"),
        (zipped(a_npy=b"no"), "array 'a' has no head as numpy writes it"),
        (zipped(readme=b"hello"), "it holds 'readme', which is no array"),
        (saved(**ARRAYS)[:-30], "File is not a zip file"),
    ],
)
def test_what_is_no_file_of_arrays_is_refused(tmp_path: Path, data: bytes, sentence: str) -> None:
    """By one error, whatever zip, zlib, numpy or Python says of it."""
    (tmp_path / "w.npz").write_bytes(data)
    with pytest.raises(LayoutError, match=sentence):
        read_npz(tmp_path / "w.npz")


def test_an_archive_that_claims_more_than_it_can_hold_is_refused(tmp_path: Path) -> None:
    """Deflate makes at most 1032 bytes of one."""
    data = bytearray(zipped(a_npy=headed((4,), body=bytes(16))))
    at = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, at + 24, 2**31)
    (tmp_path / "w.npz").write_bytes(data)
    with pytest.raises(LayoutError, match=r"it claims to hold 2147483648 bytes, which .* cannot"):
        read_npz(tmp_path / "w.npz")


def test_no_claim_takes_memory(tmp_path: Path) -> None:
    """A header that promises four terabytes costs no more than one that does not."""
    (tmp_path / "w.npy").write_bytes(headed((2**40,)))
    tracemalloc.start()
    try:
        with pytest.raises(LayoutError, match="do not hold float32"):
            read_npy(tmp_path / "w.npy")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_other_packings_and_missing_files_are_told(tmp_path: Path) -> None:
    """Bzip2 has no bound of what it makes of a byte."""
    with zipfile.ZipFile(tmp_path / "w.npz", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a.npy", headed((4,), body=bytes(16)))
    with pytest.raises(LayoutError, match="array 'a' is packed in a way that numpy does not"):
        read_npz(tmp_path / "w.npz")
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "none.npz")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12))
def test_changed_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int
) -> None:
    """No other exception, and no array that the file does not hold."""
    rng = np.random.default_rng(seed)
    data = bytearray(saved(**ARRAYS))
    for at in rng.integers(0, len(data), count):
        data[at] ^= 1 << int(rng.integers(8))
    path = tmp_path_factory.mktemp("npz") / "w.npz"
    path.write_bytes(data[: int(rng.integers(len(data) // 2, len(data) + 1))])
    try:
        found = read_npz(path)
    except LayoutError as error:
        assert str(error)  # noqa: PT017 - either way is right
    else:
        assert sum(array.nbytes for array in found.values()) < 4096
