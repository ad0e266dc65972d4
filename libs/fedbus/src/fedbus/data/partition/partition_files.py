"""Partition files: each agent's rows in an .npz file, written without the data set in memory."""

import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.lib.format import open_memmap

from fedbus.atomic_write import open_atomic
from fedbus.data.dataset import Dataset
from fedbus.data.description import DatasetInfo
from fedbus.data.partition.row_assignment import Rows
from fedbus.errors import TrainingError
from fedbus.interruption import deferred_signals, temporary_folder
from fedbus.model.layout import Array

FILES_PER_PASS: Final = 64
"""Partitions written in one pass over the data, with two open files each."""


def labels_of(data: Dataset) -> Array:
    """Read y of all rows, shape (rows, …)."""
    parts = [y for _, y in data.peek()]
    if not parts:
        raise TrainingError("the data set has no rows")
    return np.concatenate(parts)


@contextmanager
def replace_files(folder: Path, old: Sequence[Path]) -> Iterator[Path]:
    """Yield a hidden folder to write in; at the end its files replace the old ones.

    All are replaced or none: after an error the old files are unchanged. The disk must hold both
    for a moment. A killed process leaves a folder `.split-…` with the files that were not moved.

    Raises:
        TrainingError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary_folder(".split-", folder) as staging:
            yield staging
            with deferred_signals():
                _swap(staging, folder, old)
    except OSError as error:
        raise TrainingError(f"{folder}: {error.strerror or error}") from error


def _swap(staging: Path, folder: Path, old: Sequence[Path]) -> None:
    new = sorted(path for path in staging.iterdir() if path.is_file())
    away = staging / "old"
    away.mkdir()
    moves = [(path, away / path.name) for path in old]
    moves += [(path, folder / path.name) for path in new]
    moved: list[tuple[Path, Path]] = []
    try:
        for here, there in moves:
            here.rename(there)
            moved.append((here, there))
    except OSError:
        for here, there in reversed(moved):
            there.rename(here)
        raise


def write_partitions(data: Dataset, parts: Mapping[Path, Rows]) -> None:
    """Write an .npz file of each partition's rows; equal rows give equal bytes.

    Raises:
        TrainingError: the data cannot be read.
        OSError: the disk is full; no incomplete file is left.
    """
    left = iter(parts.items())
    while group := dict(islice(left, FILES_PER_PASS)):
        with temporary_folder(".split-", next(iter(group)).parent) as staging:
            _write(data, group, staging)


def _write(data: Dataset, group: Mapping[Path, Rows], staging: Path) -> None:
    first = next(data.peek())
    paths, partitions = list(group), list(group.values())
    bare = [
        tuple(
            _array(staging / f"{number}.{name}.npy", rows, like)
            for name, like in zip("xy", first, strict=True)
        )
        for number, rows in enumerate(partitions)
    ]
    wanted = np.concatenate(partitions)
    owner = np.repeat(np.arange(len(partitions)), [len(rows) for rows in partitions])
    place = np.concatenate([np.arange(len(rows)) for rows in partitions])
    order = np.argsort(wanted, kind="stable")
    wanted, owner, place = wanted[order], owner[order], place[order]
    begin = 0
    for batch in data.peek():
        low, high = np.searchsorted(wanted, [begin, begin + len(batch[0])])
        here, theirs, where = wanted[low:high] - begin, owner[low:high], place[low:high]
        for number in np.unique(theirs):
            mine = theirs == number
            for array, rows in zip(bare[number], batch, strict=True):
                array[where[mine]] = rows[here[mine]]
        begin += len(batch[0])
    for arrays in bare:
        for array in arrays:
            array.flush()
    for number, path in enumerate(paths):
        _pack(staging, number, path, data.info)


def _array(path: Path, rows: Rows, like: Array) -> Any:  # noqa: ANN401 - numpy 1 has no types for it
    if not len(rows):
        raise TrainingError("a partition has no rows; expected at least one")
    make: Any = open_memmap  # untyped
    made: Array = make(path, "w+", like.dtype, (len(rows), *like.shape[1:]))
    if hasattr(os, "posix_fallocate"):
        # The file is sparse: writing through a memory map without free disk space kills the process
        # (SIGBUS), but allocating the space raises OSError.
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return made


def _pack(staging: Path, number: int, path: Path, info: DatasetInfo) -> None:
    names = {"classes": info.classes, "columns": info.columns}
    for name, words in names.items():
        if words:
            np.save(staging / f"{number}.{name}.npy", np.array(words))
    with open_atomic(path) as new, zipfile.ZipFile(new, "w", zipfile.ZIP_STORED) as archive:
        for name in ("x", "y", *(name for name, words in names.items() if words)):
            file = staging / f"{number}.{name}.npy"
            # With numpy's constant date, so that the same rows give the same bytes.
            entry = zipfile.ZipInfo(f"{name}.npy")
            with file.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target, 1 << 20)
            file.unlink()
