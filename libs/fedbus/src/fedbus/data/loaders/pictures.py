"""`images`: a folder with a folder of pictures for each class (`pip install "fedbus[images]"`)."""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fedbus.data.dataset import Batch, Dataset
from fedbus.data.rows import check_batch_size, kept, numbered
from fedbus.errors import PluginError, TrainingError
from fedbus.layout import listed

SUFFIXES: Final = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
MAX_PIXELS: Final = 64 * 2**20
"""A picture of more pixels is refused before it is unpacked."""
MAX_PICTURES: Final = 10_000_000

CHANNELS: Final = {"grey": ("L", 1), "rgb": ("RGB", 3)}


def images(
    path: str,
    batch: int = 32,
    *,
    size: Sequence[int] | None = None,
    colour: Literal["rgb", "grey"] = "rgb",
    classes: Sequence[str] | None = None,
) -> Dataset:
    """Load `CLASS/picture.png` …: x is (rows, height, width, channels), 0 to 255; y is the class.

    Pictures come in an order drawn once by chance, so that the classes are mixed.

    Args:
        path: The folder.
        batch: Pictures unpacked at once.
        size: Height and width that all are brought to; by default all must be of one size.
        colour: `rgb`, or `grey` for one channel.
        classes: The folders' names in the order of their numbers; those that are there, sorted, by
            default. Agents that do not all have all classes must name them.

    Raises:
        TrainingError: names the picture.
    """
    check_batch_size(batch)
    if colour not in CHANNELS:
        raise TrainingError(f"colour is {colour!r}; it can be {listed(CHANNELS)}")
    found = _listed_pictures(Path(path), classes)
    shape = _shape(size) if size is not None else _shape_of(found[0])
    frame = _Frame(shape, size is not None, *CHANNELS[colour])

    def batches() -> Iterator[Batch]:
        for first in range(0, len(found), batch):
            some = found[first : first + batch]
            x = np.stack([frame.read(picture) for picture in some])
            yield x, np.array([picture.label for picture in some], np.int64)

    return kept(Dataset(len(found), batches), batch)


@dataclass(frozen=True, slots=True)
class _Picture:
    path: Path
    label: int
    stamp: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Frame:
    """What all pictures are brought into."""

    shape: tuple[int, int]
    resized: bool
    mode: str
    channels: int

    def read(self, picture: _Picture) -> NDArray[np.float32]:
        with _opened(picture) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise TrainingError(
                    f"{picture.path}: {width} x {height} pixels; at most {MAX_PIXELS} are unpacked"
                )
            if not self.resized and (height, width) != self.shape:
                raise TrainingError(
                    f"{picture.path}: {height} x {width} pixels, and the first picture has "
                    f'{self.shape[0]} x {self.shape[1]}; set "size" to bring all to one'
                )
            plain = image.convert(self.mode)
            framed = plain.resize(self.shape[::-1]) if self.resized else plain
            pixels = np.asarray(framed, np.float32)
        return pixels.reshape(*self.shape, self.channels)


def _listed_pictures(folder: Path, classes: Sequence[str] | None) -> list[_Picture]:
    if not folder.is_dir():
        raise TrainingError(f"{folder}: a folder with a folder of pictures for each class")
    there = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    named: Mapping[str, int] = numbered(there if classes is None else classes) if there else {}
    if unknown := [name for name in there if name not in named]:
        raise TrainingError(f"{folder / unknown[0]}: no such class; they are {listed(named)}")
    found = [
        _Picture(file, named[name], _stamp(file))
        for name in there
        for file in sorted((folder / name).iterdir())
        if file.suffix.lower() in SUFFIXES
    ]
    if not found:
        raise TrainingError(
            f"{folder}: no pictures there; they lie in a folder for each class, as "
            f"{folder.name or folder}/CLASS/picture.png ({listed(SUFFIXES)})"
        )
    order = np.random.default_rng(0).permutation(len(found))
    return [found[place] for place in order]


def _stamp(file: Path) -> tuple[int, int]:
    try:
        seen = os.stat(file)  # noqa: PTH116 - a tenth of the time, for folders of millions
    except OSError as error:
        raise TrainingError(f"{file}: {error.strerror}") from error
    if not stat.S_ISREG(seen.st_mode):
        raise TrainingError(f"{file}: not a file")
    return seen.st_size, seen.st_mtime_ns


def _shape(size: Sequence[int]) -> tuple[int, int]:
    match size:
        case [int(height), int(width)] if 0 < height * width <= MAX_PIXELS and height > 0:
            return height, width
        case _:
            raise TrainingError(f"size is {size!r}; [height, width] belongs there")


def _shape_of(picture: _Picture) -> tuple[int, int]:
    with _opened(picture) as image:
        width, height = image.size
    return height, width


@contextmanager
def _opened(picture: _Picture) -> Iterator[Any]:
    try:
        from PIL import Image  # noqa: PLC0415 - only where pictures are read
    except ImportError as error:
        raise PluginError('pictures are read by Pillow; pip install "fedbus[images]"') from error
    if _stamp(picture.path) != picture.stamp:
        raise TrainingError(f"{picture.path}: it changed while the data were in use")
    try:
        with Image.open(picture.path) as image:
            yield image
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise TrainingError(f"{picture.path}: not a picture: {error}") from error
