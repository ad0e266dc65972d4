"""Files made of parts of a blob: what NumPy and safetensors read, at any offset, the same twice."""

import io
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedbus.model import safetensors
from fedbus.model.blob import encode
from fedbus.model.blob_header import read_header
from fedbus.model.file_views import (
    CHECKSUM_BLOCK_BYTES,
    BlobRange,
    FileView,
    npz_checksums,
    npz_parts,
    safetensors_parts,
)
from fedbus.model.layout import Layout, Tensor, Weights
from fedbus.model.npz import read_npz

WEIGHTS: Weights = {
    "dense/kernel": np.arange(12, dtype=np.float32).reshape(3, 4),
    "größe": np.array(3.5),
    "mask": np.array([True, False]),
    "steps": np.arange(5, dtype=np.int8),
}


def views_of(weights: Weights) -> tuple[FileView, FileView]:
    """Return an .npz and a .safetensors view of a blob."""
    layout = Layout.of(weights)
    blob = bytes(encode(weights, layout))
    at = read_header(blob).offset

    def read(offset: int, length: int) -> bytes:
        return blob[offset : offset + length]

    arrays = npz_parts(layout, at, npz_checksums(layout, at, read))
    return FileView(arrays, read), FileView(safetensors_parts(layout, at, {"a": "b"}), read)


def same(found: Weights, weights: Weights) -> bool:
    """Return whether arrays are equal, with their dtypes and shapes."""
    return found.keys() == weights.keys() and all(
        found[name].dtype == array.dtype
        and found[name].shape == array.shape
        and bool((found[name] == array).all())
        for name, array in weights.items()
    )


def test_numpy_and_zip_tools_read_the_archive(tmp_path: Path) -> None:
    """A checksum, a length or an offset that is wrong is a damaged file elsewhere."""
    data = views_of(WEIGHTS)[0]
    content, path = data.read(0, data.size), tmp_path / "weights.npz"
    path.write_bytes(content)
    assert len(content) == data.size
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
    with np.load(path) as arrays:
        assert same(dict(arrays), WEIGHTS)
    assert same(read_npz(path), WEIGHTS)
    if unzip := shutil.which("unzip"):
        subprocess.run([unzip, "-tq", str(path)], check=True, capture_output=True)


def test_the_other_format_has_the_same_bytes_as_packed_arrays() -> None:
    """One format, written in two ways."""
    view = views_of(WEIGHTS)[1]
    packed = safetensors.pack(dict(sorted(WEIGHTS.items())), {"a": "b"})
    assert view.read(0, view.size) == packed


@given(st.integers(0, 2000), st.integers(0, 2000), st.booleans())
def test_any_range_is_that_of_the_whole(offset: int, length: int, archive: bool) -> None:
    """A download that continues reads from the middle of a part."""
    view = views_of(WEIGHTS)[0 if archive else 1]
    assert view.read(offset, length) == view.read(0, view.size)[offset : offset + length]


def test_a_tensor_of_several_blocks_has_one_checksum() -> None:
    """Data are read in blocks, so that memory is bounded for any size."""
    weights = {"w": np.arange(CHECKSUM_BLOCK_BYTES // 4 + 3, dtype=np.float32)}
    view = views_of(weights)[0]
    with np.load(io.BytesIO(view.read(0, view.size))) as arrays:
        assert same(dict(arrays), weights)


def test_an_archive_of_more_than_four_gib_is_read() -> None:
    """Sizes and offsets that need 64 bits; no byte of the tensors is made."""
    huge = Layout((Tensor("a", (5 * 2**30,), "uint8"), Tensor("b", (4,), "uint8")))
    assert huge.size > 2**32
    view = FileView(npz_parts(huge, 64, (1, 2)), lambda _, length: bytes(length))

    class Window(io.RawIOBase):
        at = 0

        def seekable(self) -> bool:
            return True

        def seek(self, offset: int, whence: int = 0) -> int:
            self.at = offset + (0, self.at, view.size)[whence]
            return self.at

        def tell(self) -> int:
            return self.at

        def read(self, size: int = -1) -> bytes:
            data = view.read(self.at, view.size - self.at if size < 0 else size)
            self.at += len(data)
            return data

    with zipfile.ZipFile(Window()) as archive:
        first, second = archive.infolist()
    assert (first.file_size > 2**32, second.header_offset > 2**32, second.CRC) == (True, True, 2)


def test_a_view_without_blob_ranges_reads_its_bytes() -> None:
    """And nothing beyond its end."""
    view = FileView((b"ab", b"", BlobRange(0, 0), b"c"), lambda *_: b"")
    assert (view.size, view.read(0, 9), view.read(1, 1), view.read(3, 5)) == (3, b"abc", b"b", b"")
