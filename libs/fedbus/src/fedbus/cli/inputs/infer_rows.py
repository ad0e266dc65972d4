"""Inputs of `fedbus infer`: arrays, archives, tables and pictures as rows of numbers."""

import csv
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from fedbus.client.model_outputs import row_of
from fedbus.data.loaders.images import MAX_PIXELS
from fedbus.data.loaders.pixels import pixel_reader
from fedbus.errors import LayoutError, PluginError, SettingsError, TrainingError
from fedbus.model.layout import Array
from fedbus.model.npz import read_npy, read_one
from fedbus.text import listed
from fedbus.wire.documents import ModelSpec

PICTURES: Final = frozenset({
    ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm",
})  # fmt: skip
TABLES: Final = {".csv": ",;\t", ".tsv": "\t"}
_CHANNELS: Final = {1: "grey", 3: "rgb"}
_WHITE: Final = 255
_PICTURE: Final = 3


def is_picture(file: Path) -> bool:
    """Tell a picture by its name."""
    return file.suffix.lower() in PICTURES


def read_rows(file: Path, key: str | None = None) -> Array:
    """Read an .npy or .npz array, or a table of numbers.

    Args:
        file: What is read.
        key: The array of an .npz file; "x" by default, or the only one.

    Raises:
        SettingsError: it cannot be read, or holds something else.
    """
    try:
        if file.suffix.lower() in TABLES:
            return _table(file)
        if file.suffix.lower() == ".npy":
            return read_npy(file)
        return read_one(file, lambda names: _chosen(file, names, key))
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror or error}") from error
    except (ValueError, LayoutError) as error:
        raise SettingsError(f"{file}: no array that can be read: {error}") from error


def _chosen(file: Path, names: Sequence[str], key: str | None) -> str:
    chosen = key or ("x" if "x" in names else names[0] if len(names) == 1 else None)
    if chosen is None or chosen not in names:
        wanted = f"no array {key!r}" if key else "no array 'x'"
        raise SettingsError(f"{file}: {wanted} in it; --key takes one of {listed(names) or 'none'}")
    return chosen


def _table(file: Path) -> Array:
    lines = file.read_text("utf-8-sig").splitlines()
    filled = [line for line in lines if line.strip()]
    if not filled:
        raise SettingsError(f"{file}: no row in it")
    delimiters = TABLES[file.suffix.lower()]
    delimiter = max(delimiters, key=filled[0].count)
    rows = list(csv.reader(filled, delimiter=delimiter))
    if not any(map(_is_number, rows[0])):
        rows = rows[1:]  # the columns' names
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise SettingsError(
                f"{file}: row {number} has {len(row)} cells, the first row {len(rows[0])}"
            )
        for column, cell in enumerate(row, 1):
            if not _is_number(cell):
                raise SettingsError(
                    f"{file}: row {number}, column {column} is {cell[:40]!r} where a finite number "
                    "belongs; inputs are numbers, as the agents' pipelines make them"
                )
    if not rows:
        raise SettingsError(f"{file}: no row of numbers in it")
    return np.array([[float(cell) for cell in row] for row in rows], np.float64)


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def read_pictures(
    files: Sequence[Path], spec: ModelSpec, *, normalized: bool | None = None
) -> Array:
    """Read pictures as the model's spec says that its rows are: size, channels, normalized.

    `normalized` is for specs that do not say it: whether pixels are brought to 0 to 1.

    Raises:
        SettingsError: one cannot be read, or the spec does not say what it becomes.
    """
    row = row_of(spec.input)
    if row is not None and len(row) == 1 and not _says_image(spec):
        shape: tuple[int, int, int] | None = _own_shape(files, row[0], spec.model)
    else:
        shape = _picture_shape(row)
    if row is None or shape is None:
        said = "says no shape of its rows" if row is None else f"takes rows of {list(row)}"
        raise SettingsError(
            f"model {spec.model} {said}, of which no picture can be made; send an array instead"
        )
    height, width, channels = shape
    first = len(row) == _PICTURE and row != shape
    made = np.stack([_picture(file, (height, width), _CHANNELS[channels]) for file in files])
    if normalized if normalized is not None else says_normalized(spec):
        made /= _WHITE
    return (np.moveaxis(made, 3, 1) if first else made).reshape(len(files), *row)


def says_normalized(spec: ModelSpec) -> bool | None:
    """Tell whether a spec says that rows are normalized; None: it says nothing of it."""
    kinds = spec.input.get("data_types")
    said = next(iter(kinds.values()), {}) if isinstance(kinds, dict) else spec.input
    found = said.get("normalized") if isinstance(said, dict) else None
    return found if isinstance(found, bool) else None


def _picture_shape(row: Sequence[int] | None) -> tuple[int, int, int] | None:
    """Find (height, width, channels) in the shape of a row; None if it is that of no picture."""
    match row:
        case (height, width, 1 | 3 as channels) | (1 | 3 as channels, height, width):
            return height, width, channels
        case (height, width):
            return height, width, 1
        case (numbers,):  # a picture row by row
            for depth in _CHANNELS:
                side = math.isqrt(numbers // depth)
                if side > 1 and side * side * depth == numbers:
                    return side, side, depth
    return None


def _says_image(spec: ModelSpec) -> bool:
    kinds = spec.input.get("data_types")
    return isinstance(kinds, dict) and "image" in kinds


def _own_shape(files: Sequence[Path], numbers: int, model: str) -> tuple[int, int, int]:
    """Take pictures for plain numbers only as they are: what is scaled is no longer those numbers.

    Raises:
        SettingsError: a picture has another number of pixels, or two have different sizes.
    """
    sizes = {file: _size_of(file) for file in files}
    for file, (height, width) in sizes.items():
        depth = numbers // (height * width)
        if depth not in _CHANNELS or depth * height * width != numbers:
            raise SettingsError(
                f"{file}: model {model} takes rows of {numbers} numbers, and its spec says of no "
                f"picture that they are one; {width} x {height} pixels are not scaled to that. "
                "Send an array or a table, or a picture of as many pixels"
            )
        if (height, width) != sizes[files[0]]:
            raise SettingsError(
                f"{file}: {width} x {height} pixels, and {files[0]} has others; send them one by "
                "one"
            )
    height, width = sizes[files[0]]
    return height, width, numbers // (height * width)


def _size_of(file: Path) -> tuple[int, int]:
    with _opened(file) as image:
        return image.height, image.width


def _picture(file: Path, size: tuple[int, int], colour: str) -> Array:
    with _opened(file) as image:
        return pixel_reader(colour, None, None, None).pixels(str(file), image, size)


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    try:
        from PIL import Image
    except ImportError as error:
        raise PluginError('pictures are read by Pillow; pip install "fedbus[images]"') from error
    try:
        with Image.open(file) as image:
            if image.width * image.height > MAX_PIXELS:
                raise SettingsError(
                    f"{file}: {image.width} x {image.height} pixels; at most {MAX_PIXELS}"
                )
            yield image
    except TrainingError as error:
        raise SettingsError(str(error)) from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SettingsError(f"{file}: not a picture that can be read: {why}") from error
