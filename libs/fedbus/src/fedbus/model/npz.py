"""Files of arrays as numpy has them, .npz and .npy: written whole, read within bounds.

numpy's own reader allocates what a header claims before it looks whether the file has it, so that a
file of a few bytes takes all memory; here each size is held against the file's first. Nothing in a
file is ever unpickled.
"""

import math
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
"""Of an array's entry."""
NUMBERS: Final = "biuf"
"""Kinds of dtypes that hold truth values and numbers."""
MOST_PACKED: Final = 1032
"""Bytes that deflate can make of one, at the very best."""

NPY_MAGIC: Final = b"\x93NUMPY"
ZIP_MAGIC: Final = b"PK\x03\x04"
MAX_NPY_HEADER_BYTES: Final = 16 * 1024
"""The header of an array in an .npz file of weights; numpy writes 128 bytes."""

_MAX_LENGTH: Final = 2**63 - 1
_NPY: Any = npy  # numpy 1 has no types for it
_PACKED: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_NO_HEAD: Final = (
    EOFError, MemoryError, OverflowError, RecursionError, SyntaxError, TokenError, TypeError,
    ValueError,
)  # fmt: skip
"""What numpy and Python's parser raise of a head, a Python literal, that is torn."""
UNREADABLE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""What zipfile raises of a file that is no archive, is torn, or is locked with a password."""


def write_npz(path: Path, weights: Weights) -> None:
    """Write named arrays in one step: a reader never finds a part of them.

    numpy's own savez leaves its archive open where the disk is full, to fail once more later.

    Raises:
        OSError: the disk is full, or not writable; nothing is left of the file.
    """
    with open_atomic(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in weights.items():
            with archive.open(f"{name}{SUFFIX}", "w", force_zip64=True) as entry:
                _write(entry, array)


def _write(file: IO[bytes], array: Array) -> None:
    rows = np.asarray(array, order="C")  # which keeps an array of no dimension what it is
    npy.write_array(file, rows, allow_pickle=False)  # type: ignore[no-untyped-call]


def read_npz(path: Path, kinds: str = NUMBERS) -> dict[str, Array]:
    """Read named arrays of these kinds of dtypes.

    Raises:
        LayoutError: it is no .npz file, is torn, or claims more than it can hold.
        OSError: it cannot be read.
    """
    with _archive(path) as archive:
        return dict(_read_entry(archive, entry, kinds) for entry in archive.infolist())


def read_one(path: Path, choose: Callable[[list[str]], str]) -> Array:
    """Read the array of numbers that `choose` picks by name; whatever lies beside it stays unread.

    Raises:
        LayoutError: it is no .npz file, is torn, claims more than it can hold, or has no numbers
            under that name.
        OSError: it cannot be read.
    """
    with _archive(path) as archive:
        entries = {
            entry.filename.removesuffix(SUFFIX): entry
            for entry in archive.infolist()
            if entry.filename.endswith(SUFFIX)
        }
        return _read_entry(archive, entries[choose(list(entries))], NUMBERS)[1]


def read_blob(path: Path, layout: Layout) -> bytearray:
    """Read the tensors of a layout into a plain blob, one at a time.

    Every size is compared with the layout's before the blob is allocated.

    Raises:
        LayoutError: it is no .npz file, is torn, or holds other arrays than the layout's.
        OSError: it cannot be read.
    """
    with _archive(path) as archive:
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
            with archive.open(entries[tensor.name]) as file:
                np.copyto(views[tensor.name], _read_tensor(file, tensor))
    return blob


def _entry_of(archive: zipfile.ZipFile, tensor: Tensor) -> zipfile.ZipInfo:
    what = f"tensor {tensor.name!r}"
    entry = archive.getinfo(tensor.name + SUFFIX)
    _check_packing(entry, what)
    if not tensor.size < entry.file_size <= tensor.size + MAX_NPY_HEADER_BYTES:
        raise LayoutError(f"{what}: {entry.file_size} bytes where the layout has {tensor.size}")
    return entry


def _read_tensor(file: IO[bytes], tensor: Tensor) -> Array:
    shape, by_column, dtype = read_header(file, f"tensor {tensor.name!r}")
    if shape != tensor.shape or dtype.name != tensor.dtype:
        raise LayoutError(
            f"tensor {tensor.name!r}: {dtype.name} {shape} where the layout has"
            f" {tensor.dtype} {tensor.shape}"
        )
    numbers = np.frombuffer(file.read(tensor.size), dtype, tensor.numbers)
    return numbers.reshape(shape, order="F" if by_column else "C")


def _check_packing(entry: zipfile.ZipInfo, what: str) -> None:
    if entry.compress_type not in _PACKED:
        raise LayoutError(f"{what} is packed in a way that numpy does not write")


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            whole = sum(entry.file_size for entry in archive.infolist())
            if whole > path.stat().st_size * MOST_PACKED:
                raise LayoutError(
                    f"it claims to hold {whole} bytes, which {path.stat().st_size} cannot"
                )
            yield archive
    except UNREADABLE as error:
        raise LayoutError(f"not an .npz file of named arrays: {error}") from error


def read_npy(path: Path, kinds: str = NUMBERS) -> Array:
    """Read one array of these kinds of dtypes.

    Raises:
        LayoutError: it is no .npy file, is torn, or claims more than it holds.
        OSError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return _read(file, path.stat().st_size, "the array", kinds)
    except UNREADABLE as error:
        raise LayoutError(f"not an .npy file: {error}") from error


def read_header(file: IO[bytes], what: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the head of a .npy file: shape, whether it lies column by column, and dtype.

    Raises:
        LayoutError: it is torn, or of another format.
    """
    try:
        version = _NPY.read_magic(file)
        reader = {(1, 0): _NPY.read_array_header_1_0, (2, 0): _NPY.read_array_header_2_0}.get(
            version
        )
        if reader is None:
            raise LayoutError(f"{what} is in .npy format {version}; 1.0 and 2.0 are read")
        shape, by_column, dtype = reader(file)
    except _NO_HEAD as error:
        raise LayoutError(f"{what} has no head as numpy writes it: {error}") from error
    if any(
        type(length) is not int or length > _MAX_LENGTH for length in shape
    ):  # True is an int, too
        raise LayoutError(f"{what} has the shape {shape}, which no array has")
    return shape, by_column, dtype


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, kinds: str) -> tuple[str, Array]:
    name = entry.filename.removesuffix(SUFFIX)
    if name == entry.filename:
        raise LayoutError(f"it holds {name[:64]!r}, which is no array")
    _check_packing(entry, f"array {name!r}")
    with archive.open(entry) as file:
        return name, _read(file, entry.file_size, f"array {name!r}", kinds)


def _read(file: IO[bytes], size: int, what: str, kinds: str) -> Array:
    shape, by_column, dtype = read_header(file, what)
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
    order: Any = "F" if by_column else "C"
    return np.array(np.frombuffer(data, dtype).reshape(shape, order=order), order="C")
