"""`npz` loader: arrays x and y in a .npz file, compressed or not."""

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from fedbus.data.arrays import cached_if_small, check_batch_size, check_class_ids, inputs, targets
from fedbus.data.categories import check_names
from fedbus.data.dataset import Batch, Dataset, from_arrays
from fedbus.data.description import DatasetInfo
from fedbus.data.loaders.npy import (
    MAX_WORDS_BYTES,
    Header,
    read_all,
    read_header,
    read_rows,
    read_words,
)
from fedbus.data.open_file import OpenFile
from fedbus.errors import TrainingError
from fedbus.model.npz import NPY_MAGIC, UNREADABLE, ZIP_MAGIC

_ZIP = {ZIP_MAGIC, b"PK\x05\x06"}  # the second one: an empty archive


def npz(path: str, batch: int = 32, *, classes: Sequence[str] | None = None) -> Dataset:
    """Load an .npz file with `x`, shape (rows, …), and `y`, shape (rows,) or (rows, …).

    Optional arrays of words, `classes` and `columns`, name its classes and inputs.

    Args:
        path: The file.
        batch: Rows read at once.
        classes: The names of the classes, in the order of their numbers in y.

    Raises:
        TrainingError: the file is missing, or does not hold such arrays.
    """
    file = OpenFile(Path(path))
    with _opened(file) as archive:
        check_batch_size(batch)
        own = _words(archive, "classes") if classes is None else check_names("classes", classes)
        info = DatasetInfo(classes=own, columns=_words(archive, "columns"))
        with _members(archive) as (x_file, y_file):
            x, y = read_header("x", x_file), read_header("y", y_file)
            if x.rows != y.rows or not x.rows:
                shapes = f"x is {(x.rows, *x.shape)} and y is {(y.rows, *y.shape)}"
                wrong = "one row of each per example" if x.rows or y.rows else "not a single row"
                raise TrainingError(f"{shapes}: {wrong}")
            if x.by_column or y.by_column:
                whole = read_all("x", x_file, x), read_all("y", y_file, y)
                return from_arrays(
                    inputs("x", whole[0]),
                    check_class_ids("y", targets("y", whole[1]), info.classes),
                    batch,
                    info,
                )

    def batches() -> Iterator[Batch]:
        with _opened(file) as archive:
            yield from _batches(archive, x, y, batch, info.classes)

    return cached_if_small(Dataset(x.rows, batches, info=info), batch)


def _words(archive: zipfile.ZipFile, name: str) -> tuple[str, ...]:
    """Read an array of names; () if it is missing or does not hold words."""
    member = f"{name}.npy"
    if member not in archive.namelist() or archive.getinfo(member).file_size > MAX_WORDS_BYTES:
        return ()
    with archive.open(member) as file:
        found = read_words(cast("BinaryIO", file))
    return check_names(name, found) if found else ()


def _batches(
    archive: zipfile.ZipFile, x: Header, y: Header, batch: int, classes: Sequence[str]
) -> Iterator[Batch]:
    with _members(archive) as (x_file, y_file):
        read_header("x", x_file)
        read_header("y", y_file)
        for first in range(0, x.rows, batch):
            count = min(batch, x.rows - first)
            yield (
                inputs("x", read_rows("x", x_file, x, count, first), first),
                check_class_ids(
                    "y",
                    targets("y", read_rows("y", y_file, y, count, first), first),
                    classes,
                    first,
                ),
            )


@contextmanager
def _opened(file: OpenFile) -> Iterator[zipfile.ZipFile]:
    """Open the file as an archive; errors in the block name the file."""
    try:
        with file.open() as raw:
            _check_zip(raw)
            with zipfile.ZipFile(raw) as archive:
                yield archive
    except TrainingError as error:
        raise TrainingError(_named(file, str(error))) from error
    except (OSError, *UNREADABLE) as error:
        raise TrainingError(_named(file, f"not an .npz file with x and y: {error}")) from error


def _check_zip(raw: BinaryIO) -> None:
    head = raw.read(len(NPY_MAGIC))
    if head[:4] not in _ZIP:
        what = (
            "one bare array" if head == NPY_MAGIC else "an .npz file is a zip archive, this is none"
        )
        raise TrainingError(f"not an .npz file with x and y: {what}")


def _named(file: OpenFile, sentence: str) -> str:
    start = f"{file.path}: "
    return sentence if sentence.startswith(start) else start + sentence


@contextmanager
def _members(archive: zipfile.ZipFile) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    missing = {"x.npy", "y.npy"} - {*archive.namelist()}
    if missing:
        raise TrainingError("expected two arrays, x and y")
    with archive.open("x.npy") as x_file, archive.open("y.npy") as y_file:
        yield cast("BinaryIO", x_file), cast("BinaryIO", y_file)
