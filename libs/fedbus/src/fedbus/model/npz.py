"""Bounded reading and atomic writing of NumPy files, .npz and .npy.

NumPy's reader allocates the size that a header claims before it reads the data, so a file of a few
bytes can exhaust the memory; here each size is first compared with that of the file. Nothing in a
file is ever unpickled. Readers raise LayoutError for a file that is damaged, of another format, or
claims more data than it can hold, and OSError for one that cannot be read.
"""

import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, Final

import numpy as np
from numpy.lib import format as npy

from fedbus.atomic_write import open_atomic
from fedbus.errors import LayoutError
from fedbus.model.blob import blank, writable_arrays
from fedbus.model.layout import Array, Layout, Tensor, Weights
from fedbus.text import listed

SUFFIX = ".npy"
"""Suffix of an array's name in the archive."""
NUMBERS: Final = "biuf"
"""Kinds of dtypes that hold booleans and numbers."""
MAX_DEFLATE_RATIO: Final = 1032
"""The largest ratio of uncompressed to compressed bytes that deflate can reach."""

NPY_MAGIC: Final = b"\x93NUMPY"
ZIP_MAGIC: Final = b"PK\x03\x04"
MAX_NPY_HEADER_BYTES: Final = 16 * 1024
"""The header of an array in an .npz file of weights; numpy writes 128 bytes."""

_MAX_LENGTH: Final = 2**63 - 1
_NPY: Any = npy  # numpy 1 has no types for it
_COMPRESSIONS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_HEADER_ERRORS: Final = (
    EOFError, MemoryError, OverflowError, RecursionError, SyntaxError, TokenError, TypeError,
    ValueError,
)  # fmt: skip
"""Errors of NumPy and of Python's parser for a damaged header, which is a Python literal."""
UNREADABLE: Final = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError,
)  # fmt: skip
"""Errors of zipfile for a file that is no archive, damaged, or encrypted."""


def write_npz(path: Path, weights: Weights, *, durable: bool = False) -> None:
    """Write named arrays atomically; `durable` as for `open_atomic`.

    `numpy.savez` leaves its archive open when the disk is full, and then fails a second time.

    Raises:
        OSError: The disk is full or not writable; no part of the file remains.
    """
    with open_atomic(path, durable=durable) as file:
        write_npz_to(file, weights)


def write_npz_to(file: IO[bytes], weights: Weights) -> None:
    """Write named arrays as an archive into an open file."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in weights.items():
            with archive.open(f"{name}{SUFFIX}", "w", force_zip64=True) as entry:
                _write(entry, array)


def _write(file: IO[bytes], array: Array) -> None:
    rows = np.asarray(array, order="C")  # keeps arrays without dimensions
    npy.write_array(file, rows, allow_pickle=False)  # type: ignore[no-untyped-call]


def read_npz(path: Path, kinds: str = NUMBERS) -> dict[str, Array]:
    """Read all arrays of an .npz file by name; `kinds` are the kinds of dtypes allowed."""
    with _archive(path) as archive:
        return dict(_read_entry(archive, entry, kinds) for entry in archive.infolist())


def read_one(path: Path, choose: Callable[[list[str]], str]) -> Array:
    """Read one array of numbers of an .npz file: that whose name `choose` returns, given all."""
    with _archive(path) as archive:
        entries = {
            entry.filename.removesuffix(SUFFIX): entry
            for entry in archive.infolist()
            if entry.filename.endswith(SUFFIX)
        }
        return _read_entry(archive, entries[choose(list(entries))], NUMBERS)[1]


def read_blob(file: Path | IO[bytes], layout: Layout) -> bytearray:
    """Read the tensors of a layout from an .npz file into a plain blob, one at a time.

    An open `file` must be seekable; it stays open. Every size is compared with that of the layout
    before the blob is allocated; LayoutError is raised for other arrays, too.
    """
    with _archive(file) as archive:
        names = {name.removesuffix(SUFFIX) for name in archive.namelist()}
        wanted = {tensor.name for tensor in layout.tensors}
        if missing := wanted - names:
            raise LayoutError(f"the weights lack {listed(missing)}")
        if foreign := names - wanted:
            raise LayoutError(f"the weights hold {listed(foreign)}, which the layout does not")
        entries = {tensor.name: _entry_of(archive, tensor) for tensor in layout.tensors}
        blob = blank(layout, "plain")
        views = writable_arrays(blob, layout)
        for tensor in layout.tensors:
            with archive.open(entries[tensor.name]) as entry:
                np.copyto(views[tensor.name], _read_tensor(entry, tensor))
    return blob


def _entry_of(archive: zipfile.ZipFile, tensor: Tensor) -> zipfile.ZipInfo:
    what = f"tensor {tensor.name!r}"
    entry = archive.getinfo(tensor.name + SUFFIX)
    _check_packing(entry, what)
    if not tensor.size < entry.file_size <= tensor.size + MAX_NPY_HEADER_BYTES:
        raise LayoutError(f"{what}: {entry.file_size} bytes where the layout has {tensor.size}")
    return entry


def _read_tensor(file: IO[bytes], tensor: Tensor) -> Array:
    shape, column_major, dtype = read_header(file, f"tensor {tensor.name!r}")
    if shape != tensor.shape or dtype.name != tensor.dtype:
        raise LayoutError(
            f"tensor {tensor.name!r}: {dtype.name} {shape} where the layout has"
            f" {tensor.dtype} {tensor.shape}"
        )
    numbers = np.frombuffer(file.read(tensor.size), dtype, tensor.numbers)
    return numbers.reshape(shape, order="F" if column_major else "C")


def _check_packing(entry: zipfile.ZipInfo, what: str) -> None:
    if entry.compress_type not in _COMPRESSIONS:
        raise LayoutError(f"{what} is packed in a way that numpy does not write")


@contextmanager
def _archive(file: Path | IO[bytes]) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(file) as archive:
            whole = sum(entry.file_size for entry in archive.infolist())
            size = file.stat().st_size if isinstance(file, Path) else file.seek(0, os.SEEK_END)
            if whole > size * MAX_DEFLATE_RATIO:
                raise LayoutError(f"it claims to hold {whole} bytes, which {size} cannot")
            yield archive
    except UNREADABLE as error:
        raise LayoutError(f"not an .npz file of named arrays: {error}") from error


def read_npy(path: Path, kinds: str = NUMBERS) -> Array:
    """Read an .npy file; `kinds` are the kinds of dtypes allowed."""
    try:
        with path.open("rb") as file:
            return _read(file, path.stat().st_size, "the array", kinds)
    except UNREADABLE as error:
        raise LayoutError(f"not an .npy file: {error}") from error


def read_header(file: IO[bytes], what: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read a header: shape, whether column-major, dtype; raise LayoutError if it is damaged."""
    try:
        version = _NPY.read_magic(file)
        reader = {(1, 0): _NPY.read_array_header_1_0, (2, 0): _NPY.read_array_header_2_0}.get(
            version
        )
        if reader is None:
            raise LayoutError(f"{what} is in .npy format {version}; 1.0 and 2.0 are read")
        shape, column_major, dtype = reader(file)
    except _HEADER_ERRORS as error:
        raise LayoutError(f"{what} has no head as numpy writes it: {error}") from error
    if any(
        type(length) is not int or length > _MAX_LENGTH for length in shape
    ):  # True is an int, too
        raise LayoutError(f"{what} has the shape {shape}, which no array has")
    return shape, column_major, dtype


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, kinds: str) -> tuple[str, Array]:
    name = entry.filename.removesuffix(SUFFIX)
    if name == entry.filename:
        raise LayoutError(f"it holds {name[:64]!r}, which is no array")
    _check_packing(entry, f"array {name!r}")
    with archive.open(entry) as file:
        return name, _read(file, entry.file_size, f"array {name!r}", kinds)


def _read(file: IO[bytes], size: int, what: str, kinds: str) -> Array:
    shape, column_major, dtype = read_header(file, what)
    if dtype.hasobject:
        raise LayoutError(f"{what}: object arrays are pickled, and never read")
    if dtype.kind not in kinds or dtype.itemsize == 0:
        raise LayoutError(f"{what} is {dtype}, not numbers")
    due = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or file.tell() + due != size:
        raise LayoutError(f"{what}: {size} bytes do not hold {dtype} {shape} behind its head")
    data = file.read(due)
    if len(data) != due:
        raise LayoutError(f"{what} ends after {len(data)} of {due} bytes")
    order: Any = "F" if column_major else "C"
    return np.array(np.frombuffer(data, dtype).reshape(shape, order=order), order="C")
