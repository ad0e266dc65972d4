"""Inputs of `fedbus infer`: arrays, tables and images as rows of numbers."""

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
from fedbus.errors import LayoutError, PluginError, SettingsError, TrainingError, WireError
from fedbus.model.layout import Array
from fedbus.model.npz import read_npy, read_one
from fedbus.text import listed
from fedbus.wire.documents import ModelSpec
from fedbus.wire.json_reader import read_json

IMAGES: Final = frozenset({
    ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm",
})  # fmt: skip
TABLES: Final = {".csv": ",;\t", ".tsv": "\t"}
_CHANNELS: Final = {1: "grey", 3: "rgb"}
_MAX_PIXEL_VALUE: Final = 255
_IMAGE_DIMENSIONS: Final = 3


def is_image(file: Path) -> bool:
    """Return whether a file has the suffix of an image."""
    return file.suffix.lower() in IMAGES


def only_file(files: Sequence[Path]) -> Path:
    """Return the only file; raise SettingsError if there are several, which only images may be."""
    if len(files) > 1:
        raise SettingsError(
            f"expected images or a single file of another kind, got {len(files)} files"
        )
    return files[0]


def is_array(file: Path) -> bool:
    """Return whether a file has the suffix of an array or a table."""
    return file.suffix.lower() in {".npy", ".npz", *TABLES}


def read_json_inputs(file: Path) -> dict[str, Any]:
    """Read `{"inputs": …}` or the inputs alone from a JSON file.

    Raises:
        SettingsError: the file cannot be read, or has no inputs.
    """
    try:
        data = file.read_bytes()
        said = read_json(data, max_bytes=max(len(data), 1))
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror or error}") from error
    except (ValueError, WireError) as error:
        raise SettingsError(
            f"{file}: expected JSON, or the suffix of an array (.npy, .npz), a table (.csv) or an "
            f"image: {error}"
        ) from error
    if isinstance(said, list):
        said = {"inputs": said}
    if not isinstance(said, dict) or "inputs" not in said:
        raise SettingsError(f'{file}: expected {{"inputs": [[…], …]}} or [[…], …]')
    return said


def read_rows(file: Path, key: str | None = None) -> Array:
    """Read an .npy array, the array `key` of an .npz file ("x" or the only one), or a table.

    Raises:
        SettingsError: the file cannot be read, or has no such array.
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
        raise SettingsError(f"{file}: has no readable array: {error}") from error


def _chosen(file: Path, names: Sequence[str], key: str | None) -> str:
    chosen = key or ("x" if "x" in names else names[0] if len(names) == 1 else None)
    if chosen is None or chosen not in names:
        wanted = f"no array {key!r}" if key else "no array 'x'"
        raise SettingsError(f"{file}: has {wanted}; --key takes one of {listed(names) or 'none'}")
    return chosen


def _table(file: Path) -> Array:
    lines = file.read_text("utf-8-sig").splitlines()
    filled = [line for line in lines if line.strip()]
    if not filled:
        raise SettingsError(f"{file}: has no rows")
    delimiters = TABLES[file.suffix.lower()]
    delimiter = max(delimiters, key=filled[0].count)
    rows = list(csv.reader(filled, delimiter=delimiter))
    if not any(map(_is_number, rows[0])):
        rows = rows[1:]  # the columns' names
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise SettingsError(
                f"{file}: row {number}: expected {len(rows[0])} cells as in row 1, got {len(row)}"
            )
        for column, cell in enumerate(row, 1):
            if not _is_number(cell):
                raise SettingsError(
                    f"{file}: row {number}, column {column}: expected a finite number, got "
                    f"{cell[:40]!r}; inputs are the numbers that the agents' pipelines produce"
                )
    if not rows:
        raise SettingsError(f"{file}: has no rows of numbers")
    return np.array([[float(cell) for cell in row] for row in rows], np.float64)


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def read_images(files: Sequence[Path], spec: ModelSpec, *, normalized: bool | None = None) -> Array:
    """Read images in the size, channels and value range of the model's rows.

    `normalized` overrides whether pixels are scaled to 0 to 1, by default as the spec says.

    Returns:
        A float array of shape (number of files, *row of the model).

    Raises:
        SettingsError: an image cannot be read, or the spec has no shape of an image.
    """
    row = row_of(spec.input)
    if row is not None and len(row) == 1 and not _is_image_spec(spec):
        shape: tuple[int, int, int] | None = _unscaled_shape(files, row[0], spec.model)
    else:
        shape = _image_shape(row)
    if row is None or shape is None:
        shapes = "has no row shape" if row is None else f"takes rows of shape {list(row)}"
        raise SettingsError(f"model {spec.model} {shapes}, not of an image; send an array instead")
    height, width, channels = shape
    channels_first = len(row) == _IMAGE_DIMENSIONS and row != shape
    images = np.stack([_read_image(file, (height, width), _CHANNELS[channels]) for file in files])
    if normalized if normalized is not None else normalized_in(spec):
        images /= _MAX_PIXEL_VALUE
    return (np.moveaxis(images, 3, 1) if channels_first else images).reshape(len(files), *row)


def normalized_in(spec: ModelSpec) -> bool | None:
    """Return whether a spec has normalized rows, or None if it does not state it."""
    kinds = spec.input.get("data_types")
    fields = next(iter(kinds.values()), {}) if isinstance(kinds, dict) else spec.input
    found = fields.get("normalized") if isinstance(fields, dict) else None
    return found if isinstance(found, bool) else None


def _image_shape(row: Sequence[int] | None) -> tuple[int, int, int] | None:
    """Return (height, width, channels) of a row's shape; None if it is no image's."""
    match row:
        case (height, width, 1 | 3 as channels) | (1 | 3 as channels, height, width):
            return height, width, channels
        case (height, width):
            return height, width, 1
        case (numbers,):  # a flattened image
            for depth in _CHANNELS:
                side = math.isqrt(numbers // depth)
                if side > 1 and side * side * depth == numbers:
                    return side, side, depth
    return None


def _is_image_spec(spec: ModelSpec) -> bool:
    kinds = spec.input.get("data_types")
    return isinstance(kinds, dict) and "image" in kinds


def _unscaled_shape(files: Sequence[Path], numbers: int, model: str) -> tuple[int, int, int]:
    """Return the shape of images for a model of plain numbers, for which they are not scaled.

    Raises:
        SettingsError: an image has another number of pixels, or two have different sizes.
    """
    sizes = {file: _image_size(file) for file in files}
    for file, (height, width) in sizes.items():
        depth = numbers // (height * width)
        if depth not in _CHANNELS or depth * height * width != numbers:
            raise SettingsError(
                f"{file}: expected an image of {numbers} numbers, got {width} x {height} pixels; "
                f"the spec of model {model} does not describe an image, so it is not scaled: send "
                "an array, a table, or an image with that number of pixels"
            )
        if (height, width) != sizes[files[0]]:
            raise SettingsError(
                f"{file}: {width} x {height} pixels, but {files[0]} has another size; send one "
                "image at a time"
            )
    height, width = sizes[files[0]]
    return height, width, numbers // (height * width)


def _image_size(file: Path) -> tuple[int, int]:
    with _open_image(file) as image:
        return image.height, image.width


def _read_image(file: Path, size: tuple[int, int], colour: str) -> Array:
    with _open_image(file) as image:
        return pixel_reader(colour, None, None, None).pixels(str(file), image, size)


@contextmanager
def _open_image(file: Path) -> Iterator[Any]:
    try:
        from PIL import Image
    except ImportError as error:
        raise PluginError('images need Pillow: pip install "fedbus[images]"') from error
    try:
        with Image.open(file) as image:
            if image.width * image.height > MAX_PIXELS:
                raise SettingsError(
                    f"{file}: {image.width} x {image.height} pixels; expected at most {MAX_PIXELS}"
                )
            yield image
    except TrainingError as error:
        raise SettingsError(str(error)) from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SettingsError(f"{file}: is not a readable image: {why}") from error
