"""`images`: a folder with a folder of pictures for each class (`pip install "fedbus[images]"`)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fedbus.data.arrays import cached_if_small, check_batch_size
from fedbus.data.dataset import Batch, Dataset
from fedbus.data.description import DatasetInfo
from fedbus.data.loaders.image_folder import ImageFile, file_state, scan_image_folder
from fedbus.data.loaders.pixels import Background, PixelReader, pixel_reader
from fedbus.errors import PluginError, TrainingError

MAX_PIXELS: Final = 64 * 2**20
"""Maximum size of an image, checked before it is decoded."""


def images(  # noqa: PLR0913 - options of image data, with defaults
    path: str,
    batch: int = 32,
    *,
    size: Sequence[int] | None = None,
    colour: Literal["rgb", "grey"] = "rgb",
    classes: Sequence[str] | None = None,
    nested: bool = False,
    range: Sequence[float] | None = None,  # noqa: A002 - the option's name
    background: Background = None,
    frame: int | None = None,
) -> Dataset:
    """Load `CLASS/picture.png` …: x is (rows, height, width, channels), 0 to 255; y is the class.

    Pictures come in an order drawn once by chance, so that the classes are mixed. They are turned
    as their EXIF data say; colour profiles are not applied.

    Args:
        path: The folder.
        batch: Pictures unpacked at once.
        size: Height and width that all are brought to; by default all must be of one size.
        colour: `rgb`, or `grey` for one channel.
        classes: The folders' names in the order of their numbers; by default those that hold
            pictures: whole numbers by their value, then words by the alphabet. Agents that do not
            all have all classes must name them.
        nested: Whether pictures in folders below that of a class are of that class.
        range: The numbers that become 0 and 255 in pictures of more than 8 bits; 0 and 65535 by
            default for 16 bits, refused for 32 bits and fractions.
        background: What lies behind transparent pixels: a grey from 0 to 255, [red, green, blue],
            or "ignore", which takes the colours that are stored there; refused by default.
        frame: Which picture of a file with several is taken, the first being 0; refused by default.

    Raises:
        TrainingError: names the picture.
    """
    check_batch_size(batch)
    reading = pixel_reader(colour, range, background, frame)
    there = scan_image_folder(Path(path), classes, nested=nested)
    found = there.found
    shape = _shape(size) if size is not None else _shape_of(found[0], reading)
    frames = _ImageReader(shape, size is not None, reading)

    def batches() -> Iterator[Batch]:
        for first in _range(0, len(found), batch):
            some = found[first : first + batch]
            x = np.stack([frames.read(picture) for picture in some])
            yield x, np.array([picture.label for picture in some], np.int64)

    info = DatasetInfo(classes=there.classes, notes=there.notes)
    return cached_if_small(Dataset(len(found), batches, info=info), batch)


_range = range


@dataclass(frozen=True, slots=True)
class _ImageReader:
    """Reader of images of one size."""

    shape: tuple[int, int]
    resized: bool
    reading: PixelReader

    def read(self, picture: ImageFile) -> NDArray[np.float32]:
        with _opened(picture) as image:
            height, width = self.reading.size(image)
            if width * height > MAX_PIXELS:
                raise TrainingError(
                    f"{picture.path}: {width} x {height} pixels; at most {MAX_PIXELS} are unpacked"
                )
            if not self.resized and (height, width) != self.shape:
                raise TrainingError(
                    f"{picture.path}: {height} x {width} pixels, and the first picture has "
                    f'{self.shape[0]} x {self.shape[1]}; set "size" to bring all to one'
                )
            size = self.shape if self.resized else None
            return self.reading.pixels(str(picture.path), image, size)


def _shape(size: Sequence[int]) -> tuple[int, int]:
    match size:
        case [int(height), int(width)] if 0 < height * width <= MAX_PIXELS and height > 0:
            return height, width
        case _:
            raise TrainingError(f"size is {size!r}: expected [height, width]")


def _shape_of(picture: ImageFile, reading: PixelReader) -> tuple[int, int]:
    with _opened(picture) as image:
        return reading.size(image)


@contextmanager
def _opened(picture: ImageFile) -> Iterator[Any]:
    try:
        from PIL import Image  # noqa: PLC0415 - only where images are read
    except ImportError as error:
        raise PluginError('pictures are read by Pillow; pip install "fedbus[images]"') from error
    if file_state(picture.path) != picture.file_state:
        raise TrainingError(f"{picture.path}: it changed while the data were in use")
    try:
        with Image.open(picture.path) as image:
            yield image
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise TrainingError(f"{picture.path}: not a picture: {error}") from error
