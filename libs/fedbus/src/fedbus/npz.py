"""Write an .npz file of named arrays that is there whole or not at all; never a pickle in it."""

import zipfile
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from fedbus.interruption import undisturbed
from fedbus.layout import Array, Weights

SUFFIX = ".npy"
"""Of an array's entry."""


def unfinished(path: Path) -> Path:
    """Name the file beside it that is written first."""
    return path.with_name(f".{path.name}.new")


def write_npz(path: Path, weights: Weights) -> None:
    """Write named arrays in one step, so that nobody reads a half of them.

    numpy's own savez leaves its archive open where the disk is full, to fail once more later.

    Raises:
        OSError: the disk is full, or not writable; nothing is left of the file.
    """
    new = unfinished(path)
    try:
        with new.open("wb") as file, zipfile.ZipFile(file, "w") as archive:
            for name, array in weights.items():
                with archive.open(f"{name}{SUFFIX}", "w", force_zip64=True) as entry:
                    _write(entry, array)
        new.replace(path)
    except BaseException:  # Ctrl-C as well
        with undisturbed(), suppress(OSError):
            new.unlink(missing_ok=True)  # on a disk that is full every byte counts
        raise


def _write(file: IO[bytes], array: Array) -> None:
    rows = np.asarray(array, order="C")  # which keeps an array of no dimension what it is
    npy.write_array(file, rows, allow_pickle=False)  # type: ignore[no-untyped-call]
