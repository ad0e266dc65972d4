"""Weights as people bring and take them: an .npz file of named arrays, never a pickle in it."""

import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from fedbus import npz
from fedbus.errors import LayoutError, StoreError
from fedbus.layout import Array, Layout, Tensor, Weights
from fedbus.text import listed
from fedbus.weights import blank, decode

MAX_NPY_HEADER_BYTES = 16 * 1024
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UNREADABLE = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError)
"""What a file raises that is none, is torn, or is locked with a password."""


def read_npz(path: Path, layout: Layout) -> bytearray:
    """Read a layout's weights into a plain blob; what is larger than it says is not unpacked.

    Raises:
        LayoutError: it is no .npz file, or holds other arrays than the layout's.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive, path.stat().st_size, layout)
    except _UNREADABLE as error:
        raise LayoutError(f"not an .npz file of named arrays: {error}") from error


def _read(archive: zipfile.ZipFile, length: int, layout: Layout) -> bytearray:
    names = {name.removesuffix(npz.SUFFIX) for name in archive.namelist()}
    wanted = {tensor.name for tensor in layout.tensors}
    if missing := wanted - names:
        raise LayoutError(f"the weights lack {listed(missing)}")
    if foreign := names - wanted:
        raise LayoutError(f"the weights hold {listed(foreign)}, which the layout does not")
    entries = {tensor.name: _entry(archive, tensor) for tensor in layout.tensors}
    whole = sum(entry.file_size for entry in entries.values())
    if whole > length * npz.MOST_PACKED:
        raise LayoutError(f"it claims to hold {whole} bytes, which {length} cannot")
    blob = blank(layout, "plain")
    views = decode(blob, layout)
    for tensor in layout.tensors:
        with archive.open(entries[tensor.name]) as file:
            np.copyto(views[tensor.name], _array(file, tensor))
    return blob


def _entry(archive: zipfile.ZipFile, tensor: Tensor) -> zipfile.ZipInfo:
    what = f"tensor {tensor.name!r}"
    entry = archive.getinfo(tensor.name + npz.SUFFIX)
    if entry.compress_type not in _PACKED:
        raise LayoutError(f"{what} is packed in a way that numpy does not write")
    size = entry.file_size
    if not tensor.size < size <= tensor.size + MAX_NPY_HEADER_BYTES:
        raise LayoutError(f"{what}: {size} bytes where the layout has {tensor.size}")
    return entry


def _array(file: IO[bytes], tensor: Tensor) -> Array:
    shape, by_columns, dtype = npz.read_header(file, f"tensor {tensor.name!r}")
    if shape != tensor.shape or dtype.name != tensor.dtype:
        raise LayoutError(
            f"tensor {tensor.name!r}: {dtype.name} {shape} where the layout has"
            f" {tensor.dtype} {tensor.shape}"
        )
    numbers = np.frombuffer(file.read(tensor.size), dtype, tensor.numbers)
    return numbers.reshape(shape, order="F" if by_columns else "C")


def write_npz(path: Path, weights: Weights) -> None:
    """Write named arrays in one step, so that nobody reads a half of them.

    Raises:
        StoreError: the disk is full, or not writable.
    """
    try:
        npz.write_npz(path, weights)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
