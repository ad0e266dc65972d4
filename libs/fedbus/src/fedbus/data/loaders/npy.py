"""Reader of .npy files, in pieces of rows."""

import math
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import numpy as np

from fedbus.data.arrays import KEPT_BYTES, check_row
from fedbus.errors import LayoutError, TrainingError
from fedbus.model import npz
from fedbus.model.layout import Array

MAX_WORDS_BYTES: Final = 16 * 2**20
"""Maximum size of an array of words, in which each is as wide as the longest."""


@dataclass(frozen=True, slots=True)
class Header:
    """Header of an array whose rows follow one another."""

    rows: int
    shape: tuple[int, ...]
    """Shape of one row."""
    dtype: np.dtype[Any]
    by_column: bool = False
    """Column-major (Fortran) order: rows are not contiguous."""

    @property
    def size(self) -> int:
        """Size of all rows in bytes."""
        return self.rows * self.dtype.itemsize * math.prod(self.shape)


def read_header(name: str, file: BinaryIO) -> Header:
    """Read the header of a .npy file; the file is then at its first row.

    Raises:
        TrainingError: the file is truncated, of another format, or does not hold rows of numbers.
    """
    try:
        shape, by_column, dtype = npz.read_header(file, name)
    except LayoutError as error:
        raise TrainingError(str(error)) from error
    if min(shape, default=0) < 0:
        raise TrainingError(f"{name} is {shape}; no length is below 0")
    if dtype.hasobject:
        raise TrainingError(f"{name}: Object arrays are pickled, and never read")
    if dtype.kind not in npz.NUMBERS:
        hint = ""
        if dtype.kind in "US":
            hint = "; write numpy.unique(y, return_inverse=True): `classes` and the numbers of y"
        raise TrainingError(f"{name} is {dtype}, not numbers{hint if name == 'y' else ''}")
    if not shape:
        raise TrainingError(f"{name} is (): one bare number, not rows")
    if 0 not in shape:
        check_row(name, shape[1:], dtype)
    return Header(int(shape[0]), tuple(map(int, shape[1:])), dtype, by_column and len(shape) > 1)


def read_words(file: BinaryIO) -> list[str]:
    """Read a .npy file of words; [] for any other content."""
    try:
        shape, _, dtype = npz.read_header(file, "words")
    except LayoutError:
        return []
    if dtype.kind != "U" or len(shape) != 1 or not dtype.itemsize:
        return []
    due = shape[0] * dtype.itemsize
    content = file.read(due) if 0 <= due <= MAX_WORDS_BYTES else b""
    if len(content) != due:
        return []
    words: list[str] = np.frombuffer(content, dtype).tolist()
    return words


def read_rows(name: str, file: BinaryIO, header: Header, count: int, first: int) -> Array:
    """Read the next rows; raise TrainingError if the file ends before them."""
    rows = np.empty((count, *header.shape), header.dtype)
    left = rows.reshape(-1).view(np.uint8).data
    while left:
        piece = file.read(min(len(left), 1 << 20))
        if not piece:
            missing = len(left) * count // rows.nbytes or 1
            raise TrainingError(
                f"{name} ends in row {first + count - missing} of {header.rows} (the first is 0)"
            )
        left[: len(piece)] = piece
        left = left[len(piece) :]
    return rows


def read_all(name: str, file: BinaryIO, header: Header) -> Array:
    """Read all rows at once, in any memory order.

    Raises:
        TrainingError: the file ends too early, or is in column-major order and too large.
    """
    if not header.by_column:
        return read_rows(name, file, header, header.rows, 0)
    if header.size > KEPT_BYTES:
        raise TrainingError(
            f"{name} lies column by column, {header.size} bytes: no row can be read alone; write "
            "it with numpy.ascontiguousarray"
        )
    turned = Header(header.shape[-1], (*header.shape[-2::-1], header.rows), header.dtype)
    return np.ascontiguousarray(read_rows(name, file, turned, turned.rows, 0).T)
